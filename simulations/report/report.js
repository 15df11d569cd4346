"use strict";
// Draws the charts of a comparison from the data block of the page. Nothing is fetched.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const style = () => getComputedStyle(document.documentElement);
  const color = (name) => style().getPropertyValue("--" + name).trim();
  const byName = new Map(data.runs.map((run) => [run.name, run]));
  const reference = data.runs[data.runs.length - 1];
  const together = uPlot.sync("time");
  const drawn = new Map();

  const two = (n) => String(n).padStart(2, "0");
  const clock = (seconds) => {
    const s = Math.round(seconds);
    const day = Math.floor(s / 86400), hour = Math.floor((s % 86400) / 3600);
    const minute = Math.floor((s % 3600) / 60), rest = s % 60;
    const time = hour + ":" + two(minute) + (rest ? ":" + two(rest) : "");
    return data.days ? "day " + (day + 1) + " " + time : time;
  };
  const steps = [1, 5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200,
    86400, 172800, 604800];
  const number = (value, digits = 3) =>
    value == null ? "–" : Number(value.toPrecision(digits)).toLocaleString("en-US", { maximumFractionDigits: 6 });
  const seconds = (value) =>
    value == null ? "–" : value < 1 && value > 0 ? number(value * 1000) + " ms" : number(value) + " s";

  const axes = (unit, size) => [
    {
      stroke: color("faint"), grid: { stroke: color("grid"), width: 1 }, ticks: { stroke: color("line"), width: 1 },
      incrs: steps, space: data.days ? 90 : 60, values: (_, splits) => splits.map(clock), size: 30,
    },
    {
      stroke: color("faint"), grid: { stroke: color("grid"), width: 1 }, ticks: { show: false },
      size: size, values: (_, splits) => splits.map(unit),
    },
  ];
  const stepped = uPlot.paths.stepped({ align: 1 });
  const bars = uPlot.paths.bars({ size: [1, Infinity], align: 1 });

  const whole = (value) => (Number.isInteger(value) ? value.toLocaleString("en-US") : "");
  const upTo = (least) => (_, __, top) => [0, Math.max(least, (top || 0) * 1.08)];

  // Each kind of chart: x, series, unit of the vertical axis.
  const kinds = {
    replicas: (run) => ({
      x: data.x, unit: whole, top: data.mostReplicas, height: 190,
      series: [
        { label: "needed (clairvoyant)", stroke: color("need"), fill: color("need") + "22", width: 1, paths: stepped, values: reference.ready },
        { label: "asked for", stroke: color("asked"), width: 1.5, dash: [4, 3], paths: stepped, values: run.asked },
        { label: "ready", stroke: color("ready"), width: 2, paths: stepped, values: run.ready },
      ],
    }),
    nodes: (run) => ({
      x: data.x, unit: whole, height: 130,
      series: [
        { label: "nodes asked for", stroke: color("asked"), width: 1.5, dash: [4, 3], paths: stepped, values: run.nodesAsked },
        { label: "nodes ready", stroke: color("queue"), width: 2, paths: stepped, values: run.nodesReady },
      ],
    }),
    small: (run) => ({
      x: data.x, unit: whole, top: data.mostReplicas, height: 120, small: true,
      series: [
        { label: "needed", stroke: color("need"), fill: color("need") + "22", width: 1, paths: stepped, values: reference.ready },
        { label: "ready", stroke: color("ready"), width: 2, paths: stepped, values: run.ready },
      ],
    }),
    ttft: (run) => limited("p95 to first token", "ttft", run.ttft, data.limits.ttft),
    itl: (run) => limited("p95 between tokens", "itl", run.itl, data.limits.itl),
    e2e: (run) => limited("p95 to last token", "asked", run.e2e, data.limits.e2e),
    queue: (run) => ({
      x: data.x, unit: whole, height: 120,
      series: [{ label: "requests waiting", stroke: color("queue"), fill: color("queue") + "33", width: 1, paths: stepped, values: run.queued }],
    }),
    missed: (run) => ({
      x: data.mx, unit: whole, height: 120,
      series: [
        { label: "arrived", stroke: color("asked"), fill: color("asked") + "44", width: 0, paths: bars, values: run.arrived },
        { label: "of these not served as promised", stroke: color("bad"), fill: color("bad") + "bb", width: 0, paths: bars, values: run.missed },
      ],
    }),
    forecast: (run) => ({
      x: run.forecast.x, unit: (v) => number(v), height: 170,
      series: [
        { label: "what came", stroke: color("ink"), width: 1.5, values: run.forecast.seen },
        ...run.forecast.quantiles.map((level, index) => ({
          label: "forecast p" + number(level * 100),
          stroke: color("ready") + (index === run.forecast.quantiles.length - 1 ? "" : index % 2 ? "cc" : "77"),
          width: index === run.forecast.quantiles.length - 1 ? 2 : 1,
          dash: index === run.forecast.quantiles.length - 1 ? [] : [3, 3], values: run.forecast.values[index],
        })),
      ],
    }),
  };

  function limited(label, tint, values, limit) {
    const series = [{ label, stroke: color(tint), width: 1.5, values, value: seconds, points: { show: values.length < 200 && values.filter((v) => v != null).length < 100, size: 4 } }];
    if (limit != null) {
      series.push({ label: "limit", stroke: color("limit"), width: 1.5, dash: [6, 4], values: data.mx.map(() => limit), value: seconds });
    }
    return { x: data.mx, unit: seconds, height: 130, top: limit == null ? 0 : limit * 1.25, series };
  }

  function draw(box) {
    const run = byName.get(box.dataset.run);
    const chart = kinds[box.dataset.chart](run);
    const old = drawn.get(box);
    if (old) old.destroy();
    const options = {
      width: Math.max(240, box.clientWidth), height: chart.height, padding: [8, data.days ? 44 : 24, 0, 0],
      cursor: { sync: { key: together.key, setSeries: false }, y: false, points: { size: 6 } },
      legend: { show: !chart.small, live: true, markers: { width: 2 } },
      scales: { x: { time: false, range: () => [0, data.seconds] }, y: { range: upTo(chart.top || 1) } },
      axes: axes(chart.unit, chart.small ? 36 : 64),
      series: [
        { label: "time", value: (_, v) => (v == null ? "–" : clock(v)) },
        ...chart.series.map(({ values, value, points, ...rest }) => ({
          points: points || { show: false }, spanGaps: false, ...rest,
          value: (_, v) => (value ? value(v) : number(v, 4)),
        })),
      ],
    };
    drawn.set(box, new uPlot(options, [chart.x, ...chart.series.map((one) => one.values)], box));
    box.dataset.drawn = "yes";
  }

  const visible = (box) => !box.closest("details:not([open])");
  const all = () => document.querySelectorAll(".chart");
  const drawVisible = () => all().forEach((box) => { if (visible(box) && !drawn.has(box)) draw(box); });
  const redraw = () => [...drawn.keys()].forEach((box) => { if (visible(box)) draw(box); });

  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(redraw, 150); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  document.querySelectorAll("details").forEach((one) => one.addEventListener("toggle", drawVisible));
  addEventListener("beforeprint", () => { document.querySelectorAll("details").forEach((one) => { one.open = true; }); drawVisible(); });
  drawVisible();
  document.documentElement.dataset.ready = "yes";
})();
