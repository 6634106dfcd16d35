// @ts-check
// Pictures of curves, as SVG.

import { LineChart } from 'echarts/charts';
import { GridComponent, LegendComponent, TitleComponent } from 'echarts/components';
import { init, use } from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';

use([LineChart, GridComponent, LegendComponent, TitleComponent, SVGRenderer]);

/**
 * @typedef {object} Picture
 * @property {string} title
 * @property {string} x What is on the axis, with its unit.
 * @property {string} y
 * @property {readonly Line[]} lines
 */

/**
 * @typedef {object} Line
 * @property {string} name
 * @property {number} color An index: lines that belong together share it.
 * @property {boolean} dashed
 * @property {readonly (readonly [x: number, y: number])[]} points
 */

/** Told apart also by those who do not see colours as others do: https://jfly.uni-koeln.de/color/ */
const COLORS = ['#0072b2', '#d55e00'];
const FONT = 'DejaVu Sans, Verdana, Helvetica, Arial, sans-serif';
const TEXT = { fontFamily: FONT, color: '#222' };

/**
 * Both axes are logarithmic, as far as that goes: none at all has no place on such an axis.
 *
 * @param {Picture} picture
 */
export function plot({ title, x, y, lines }) {
  const xs = [...new Set(lines.flatMap(({ points }) => points.map(([at]) => at)))].sort((a, b) => a - b);
  const ys = lines.flatMap(({ points }) => points.map(([, at]) => at));
  const ticks = Math.min(...ys) > 0 ? roundBetween(Math.min(...ys), Math.max(...ys)) : undefined;
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: 800, height: 420 });
  chart.setOption({
    animation: false,
    // Also on a dark page.
    backgroundColor: '#fff',
    textStyle: TEXT,
    title: { text: title, left: 24, top: 16, textStyle: { ...TEXT, fontSize: 16, fontWeight: 'bold' } },
    legend: { left: 20, top: 46, itemWidth: 34, itemGap: 18, textStyle: { ...TEXT, fontSize: 13 } },
    grid: { left: 84, right: 36, top: 92, bottom: 66 },
    xAxis: {
      ...{ type: 'log', name: x, min: xs[0], max: xs.at(-1), nameLocation: 'middle', nameGap: 38 },
      nameTextStyle: { ...TEXT, fontSize: 13 },
      axisTick: { customValues: xs },
      axisLabel: {
        ...TEXT,
        fontSize: 13,
        customValues: xs,
        formatter: (/** @type {number} */ value) => value.toLocaleString('en'),
      },
      splitLine: { show: false },
      axisLine: { onZero: false, lineStyle: { color: '#222' } },
    },
    yAxis: {
      ...{ type: ticks === undefined ? 'value' : 'log', name: y, nameLocation: 'middle', nameGap: 54 },
      ...{ min: ticks?.[0] ?? 0, max: ticks?.at(-1) },
      nameTextStyle: { ...TEXT, fontSize: 13 },
      axisTick: { customValues: ticks },
      axisLabel: {
        ...TEXT,
        fontSize: 13,
        customValues: ticks,
        formatter: (/** @type {number} */ value) => value.toLocaleString('en'),
      },
      splitLine: { customValues: ticks, lineStyle: { color: '#ddd' } },
    },
    series: lines.map(({ name, color, dashed, points }) => ({
      ...{ type: 'line', name, symbol: dashed ? 'emptyCircle' : 'circle', symbolSize: 8 },
      data: points.map(([at, value]) => [at, value]),
      lineStyle: { width: 2.5, type: dashed ? 'dashed' : 'solid', color: COLORS[color] ?? '' },
      itemStyle: { color: COLORS[color] ?? '' },
      // The points at both ends lie on the frame.
      clip: false,
    })),
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

/**
 * 1, 2, 5, 10 and so on, from the one below to the one above.
 *
 * @param {number} from
 * @param {number} to
 */
function roundBetween(from, to) {
  const round = [];
  for (let power = -3; power <= 6; power += 1) for (const digit of [1, 2, 5]) round.push(Number(`${digit}e${power}`));
  const above = round.findIndex((value) => value >= to);
  return round.slice(
    Math.max(
      0,
      round.findLastIndex((value) => value <= from),
    ),
    above === -1 ? undefined : above + 1,
  );
}
