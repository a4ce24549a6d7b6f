import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { evaluations as fetchSeries, type Flag } from './api';
import { variationName } from './flags';
import type { Evaluations } from './live';

const MINUTES = 60;
const COLOURS = ['#1769d1', '#d1661a', '#2b8a3e', '#8b3fc7', '#b8336a', '#5f6b7a'];

interface Props {
  project: string;
  environment: string;
  flag: Flag;
  evaluations: Evaluations | null;
  explain: (error: unknown) => void;
}

// Evaluations per variation and minute, over the last hour; fetched again whenever the live totals move, at most
// once a second.
export function Chart({ project, environment, flag, evaluations, explain }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const busy = useRef(false);
  const names = [...flag.variations.map((_, i) => String(i)), 'null'];

  useEffect(() => {
    const series = names.map((name, i) => ({
      label: variationName(flag, name),
      stroke: COLOURS[i % COLOURS.length],
      width: 2,
      points: { show: true, size: 4 },
    }));
    plot.current = new uPlot(
      {
        width: place.current!.clientWidth,
        height: 260,
        cursor: { drag: { x: false, y: false } },
        scales: { y: { range: (_, __, most) => [0, Math.max(most, 1) * 1.1] } },
        axes: [{}, { size: 70 }],
        series: [{}, ...series],
      },
      [[], ...names.map(() => [])] as uPlot.AlignedData,
      place.current!,
    );
    const resize = () => plot.current?.setSize({ width: place.current!.clientWidth, height: 260 });
    addEventListener('resize', resize);
    return () => {
      removeEventListener('resize', resize);
      plot.current?.destroy();
    };
  }, []);

  useEffect(() => {
    if (busy.current) return;
    busy.current = true;
    const last = Math.floor(Date.now() / 60_000);
    fetchSeries(project, environment, flag.key, (last - MINUTES) * 60_000)
      .then(({ series }) => draw(plot.current, names, series, last, place.current))
      .catch(explain)
      .finally(() => setTimeout(() => (busy.current = false), 1000));
  }, [evaluations]);

  return <div ref={place} data-testid="chart" />;
}

function draw(plot: uPlot | null, names: string[], series: ({ time: number } & Record<string, number>)[], last: number, place: HTMLElement | null) {
  const byMinute = new Map(series.map((point) => [Math.floor(point.time / 60_000), point]));
  const minutes = Array.from({ length: MINUTES + 1 }, (_, i) => last - MINUTES + i);
  const lines = names.map((name) => minutes.map((minute) => byMinute.get(minute)?.[name] ?? 0));
  plot?.setData([minutes.map((minute) => minute * 60), ...lines] as uPlot.AlignedData);
  const total = lines.flat().reduce((a, b) => a + b, 0);
  if (place) place.dataset.total = String(total);
}
