/** Scales of a chart: where a value lies, which values get a tick. */

/** A linear map from `domain` to `range`, with its `inverse`. */
export function linear([d0, d1], [r0, r1]) {
  const slope = (r1 - r0) / (d1 - d0);
  const map = (value) => r0 + (value - d0) * slope;
  map.inverse = (at) => d0 + (at - r0) / slope;
  return map;
}

/** Lowest and highest value with a little air, within the bounds; never empty, and below 0 only where a value is. */
export function extent(values, floor, ceiling) {
  const found = values.filter((value) => value !== null);
  if (found.length === 0) return [0, 1];
  const [low, high] = found.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  // What differs by rounding alone is flat: its ticks would need ten decimals.
  const width = high - low > 1e-6 * Math.abs(high) ? high - low : 0;
  const air = 0.06 * width || 0.05 * Math.abs(high) || 0.5;
  return [Math.max(low >= 0 ? 0 : -Infinity, floor, low - air), Math.min(ceiling, high + air)];
}

/** Round numbers that cover low to high, about `count` of them. */
export function ticks(low, high, count) {
  const step = round((high - low) / Math.max(1, count - 1)) || 1;
  const digits = Math.max(0, -Math.floor(Math.log10(step)) + 1);
  const [first, last] = [Math.floor(low / step + 1e-9), Math.ceil(high / step - 1e-9)];
  return Array.from({ length: Math.max(2, last - first + 1) }, (_, i) => Number(((first + i) * step).toFixed(digits)));
}

/** Decimals that the ticks need. */
export const decimals = (ticks) => Math.max(...ticks.map((tick) => (String(tick).split(".")[1] ?? "").length));

function round(raw) {
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((step) => step >= raw * 0.999);
}

/** Index of the value in an ascending list that is nearest. */
export function nearest(values, wanted) {
  let [low, high] = [0, values.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted) low = middle;
    else high = middle;
  }
  return wanted - values[low] <= values[high] - wanted ? low : high;
}

/** Means of at most `most` stretches of equal length, and the trailing mean over `window` points before that. */
export function reduced(values, { window, most }) {
  const smooth =
    window > 1
      ? values.map((value, i) => (value === null ? null : mean(values.slice(Math.max(0, i - window + 1), i + 1))))
      : values;
  const stretch = Math.ceil(smooth.length / most);
  if (stretch <= 1) return smooth;
  return Array.from({ length: Math.ceil(smooth.length / stretch) }, (_, i) =>
    mean(smooth.slice(i * stretch, (i + 1) * stretch)),
  );
}

function mean(values) {
  const found = values.filter((value) => value !== null);
  return found.length ? found.reduce((sum, value) => sum + value, 0) / found.length : null;
}
