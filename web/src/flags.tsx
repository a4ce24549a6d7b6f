import { useState } from 'preact/hooks';
import type { Flag, Instruction } from './api';
import type { Evaluations } from './live';

interface Props {
  flags: Flag[] | null;
  environment: string;
  evaluations: Evaluations | null;
  charted: string | null;
  onChart: (flag: string) => void;
  onEdit: (flag: string, instructions: Instruction[]) => Promise<void>;
}

export function FlagTable({ flags, environment, evaluations, charted, onChart, onEdit }: Props) {
  if (!flags) return <p>Loading…</p>;
  if (flags.length === 0) return <p>No flag yet. Create the first one below.</p>;
  return (
    <table data-testid="flags">
      <thead>
        <tr>
          <th>flag</th>
          <th>on</th>
          <th>default rule</th>
          <th>evaluations</th>
          <th />
        </tr>
      </thead>
      <tbody>
        {flags.map((flag) => (
          <FlagRow
            key={flag.key}
            flag={flag}
            environment={environment}
            counts={evaluations?.flags[flag.key] ?? {}}
            charted={flag.key === charted}
            onChart={() => onChart(flag.key)}
            onEdit={(instructions) => onEdit(flag.key, instructions)}
          />
        ))}
      </tbody>
    </table>
  );
}

export function variationName(flag: Flag, index: string): string {
  const variation = flag.variations[Number(index)];
  if (index === 'null' || !variation) return 'code default';
  return variation.name ?? shorten(JSON.stringify(variation.value));
}

function shorten(text: string): string {
  return text.length > 24 ? `${text.slice(0, 23)}…` : text;
}

interface RowProps {
  flag: Flag;
  environment: string;
  counts: Record<string, number>;
  charted: boolean;
  onChart: () => void;
  onEdit: (instructions: Instruction[]) => Promise<void>;
}

function FlagRow({ flag, environment, counts, charted, onChart, onEdit }: RowProps) {
  const [busy, setBusy] = useState(false);
  const settings = flag.environments[environment];
  const toggle = async () => {
    setBusy(true);
    await onEdit([{ kind: settings.on ? 'turnFlagOff' : 'turnFlagOn' }]);
    setBusy(false);
  };
  return (
    <tr class={charted ? 'charted' : ''} data-testid={`flag-${flag.key}`}>
      <td>
        <b>{flag.name}</b>
        <br />
        <code>{flag.key}</code>
      </td>
      <td>
        <button
          role="switch"
          class="switch"
          aria-checked={settings.on}
          aria-label={`${flag.key} on`}
          data-testid={`switch-${flag.key}`}
          disabled={busy}
          onClick={toggle}
        />
      </td>
      <td>
        <RolloutEditor flag={flag} environment={environment} onEdit={onEdit} />
      </td>
      <td class="numbers" data-testid={`evaluations-${flag.key}`}>
        {Object.entries(counts)
          .sort(([a], [b]) => a.localeCompare(b))
          .map(([index, count]) => (
            <div>
              {variationName(flag, index)} <b>{count.toLocaleString('en')}</b>
            </div>
          ))}
      </td>
      <td>
        <button onClick={onChart} data-testid={`chart-${flag.key}`}>
          chart
        </button>
      </td>
    </tr>
  );
}

// Weights in per cent of each variation, for the contexts that no rule matches.
export function RolloutEditor({ flag, environment, onEdit }: Pick<RowProps, 'flag' | 'environment' | 'onEdit'>) {
  const served = flag.environments[environment].fallthrough ?? {};
  const current = flag.variations.map((_, i) =>
    served.rollout
      ? (served.rollout.variations.find(({ variation }) => variation === i)?.weight ?? 0) / 1000
      : served.variation === i
        ? 100
        : 0,
  );
  const [draft, setDraft] = useState<number[] | null>(null);
  if (!draft) {
    return (
      <button class="link" data-testid={`rollout-${flag.key}`} onClick={() => setDraft(current)}>
        {current.map((percent, i) => (percent ? `${variationName(flag, String(i))} ${percent} %` : '')).filter(Boolean).join(', ')}
      </button>
    );
  }
  const sum = draft.reduce((a, b) => a + b, 0);
  const save = async (event: Event) => {
    event.preventDefault();
    const rolloutWeights = Object.fromEntries(flag.variations.map(({ _id }, i) => [_id, Math.round(draft[i] * 1000)]));
    await onEdit([{ kind: 'updateFallthroughVariationOrRollout', rolloutWeights }]);
    setDraft(null);
  };
  return (
    <form class="rollout" onSubmit={save}>
      {flag.variations.map((_, i) => (
        <label>
          {variationName(flag, String(i))}
          <input
            type="number"
            min="0"
            max="100"
            step="0.001"
            value={draft[i]}
            data-testid={`weight-${flag.key}-${i}`}
            onInput={(e) => setDraft(draft.map((old, j) => (j === i ? Number((e.target as HTMLInputElement).value) : old)))}
          />
          %
        </label>
      ))}
      <button disabled={Math.abs(sum - 100) > 1e-9} data-testid={`save-rollout-${flag.key}`}>
        save
      </button>
      <button type="button" onClick={() => setDraft(null)}>
        cancel
      </button>
      {Math.abs(sum - 100) > 1e-9 && <span class="hint">the weights add up to {sum} %, not 100 %</span>}
    </form>
  );
}
