"""Line plots as small SVG files, legible on light and dark pages."""
import html
import math

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 40, 48
TEXT, GRID = "#808890", "#80889040"
COLORS = ("#3b82d6", "#e07b39", "#3fa266")


def number(value):
    """Short and round: 950, 1.2k, 38k."""
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    if value >= 1_000:
        return f"{value / 1000:.1f}k".replace(".0k", "k")
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def tick_step(top):
    """So that three to six lines lie below the top."""
    power = 10 ** math.floor(math.log10(top / 3))
    return next(power * factor for factor in (1, 2, 5, 10) if top / (power * factor) <= 6)


def line_plot(title, x_name, y_name, series):
    """`series`: name -> [[x, median, least, greatest], ...].  The x axis is logarithmic, the y axis begins at 0."""
    xs = sorted({point[0] for points in series.values() for point in points})
    top = max(point[3] for points in series.values() for point in points) * 1.08 or 1
    low, high = math.log(xs[0]), math.log(xs[-1])

    def x_of(value):
        return LEFT + (WIDTH - LEFT - RIGHT) * ((math.log(value) - low) / (high - low) if high > low else 0.5)

    def y_of(value):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
           f'font-family="system-ui, sans-serif" font-size="12" fill="{TEXT}" role="img">',
           f"<title>{html.escape(title)}</title>", f'<text x="{LEFT}" y="16" font-size="13">{html.escape(title)}</text>']
    step = tick_step(top)
    for n in range(int(top / step) + 1):
        y = y_of(n * step)
        out.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>'
                   f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{number(n * step)}</text>')
    for x in xs:
        out.append(f'<text x="{x_of(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{number(x)}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{html.escape(x_name)}</text>')
    out.append(f'<text x="8" y="{TOP - 8}">{html.escape(y_name)}</text>')
    for at, (name, points) in enumerate(series.items()):
        color = COLORS[at % len(COLORS)]
        path = "L".join(f"{x_of(x):.1f} {y_of(median):.1f}" for x, median, _, _ in points)
        out.append(f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        for x, median, least, greatest in points:
            out.append(f'<path d="M{x_of(x):.1f} {y_of(least):.1f}V{y_of(greatest):.1f}" stroke="{color}" stroke-opacity="0.5"/>'
                       f'<circle cx="{x_of(x):.1f}" cy="{y_of(median):.1f}" r="3" fill="{color}"/>')
        out.append(f'<text x="{WIDTH - RIGHT - 110 * (len(series) - 1 - at)}" y="16" text-anchor="end" fill="{color}">'
                   f"{html.escape(name)}</text>")
    return "\n".join([*out, "</svg>"]) + "\n"
