// Draws the charts of a page: one uPlot per <figure data-chart>, from the JSON in the data-series
// around it; again when a poll brings other figures. The tables beside the charts say the same.
"use strict";

(() => {
  const DAY_SECONDS = 86400;
  const HEIGHT = 190;
  const HATCH_PIXELS = 8;
  const CROSSHAIR = uPlot.sync("charts");

  const colour = (name, element = document.documentElement) =>
    getComputedStyle(element).getPropertyValue(name).trim();

  const FORMATS = {
    money: new Intl.NumberFormat("en", { maximumFractionDigits: 2 }),
    count: new Intl.NumberFormat("en", { maximumFractionDigits: 2 }),
    multiple: new Intl.NumberFormat("en", { maximumFractionDigits: 2 }),
    share: new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 2 }),
  };

  function write(value, unit, currency) {
    if (value == null) return "no figure";
    const text = FORMATS[unit].format(value);
    if (unit === "money") return `${text} ${currency}`;
    return unit === "multiple" ? `${text}x` : text;
  }

  // Days are the ad account's: they are drawn as the dates they are, in nobody's time zone.
  const toSeconds = (day) => Date.parse(`${day}T00:00:00Z`) / 1000;

  function hatching(context) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = HATCH_PIXELS * devicePixelRatio;
    const pen = tile.getContext("2d");
    pen.strokeStyle = colour("--provisional-line");
    pen.lineWidth = 1.5 * devicePixelRatio;
    for (const shift of [-1, 0, 1]) {
      pen.moveTo(shift * tile.width, tile.height);
      pen.lineTo((shift + 1) * tile.width, 0);
    }
    pen.stroke();
    return context.createPattern(tile, "repeat");
  }

  // Half a day to both sides of each provisional day.
  function shadeProvisionalDays(plot, isProvisional) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = hatching(ctx);
    plot.data[0].forEach((second, index) => {
      if (!isProvisional[index]) return;
      const left = plot.valToPos(second - DAY_SECONDS / 2, "x", true);
      const right = plot.valToPos(second + DAY_SECONDS / 2, "x", true);
      ctx.fillRect(left, bbox.top, right - left, bbox.height);
    });
    ctx.restore();
  }

  function options(figure, place) {
    const { unit, currency, title, isProvisional, days } = figure;
    const axis = {
      stroke: colour("--muted"),
      grid: { stroke: colour("--chart-grid"), width: 1 },
      ticks: { stroke: colour("--chart-grid"), width: 1 },
    };
    const isAmount = unit === "money";
    const line = colour("--chart-line", place);
    return {
      width: place.clientWidth,
      height: HEIGHT,
      tzDate: (second) => uPlot.tzDate(new Date(second * 1000), "UTC"),
      cursor: { sync: { key: CROSSHAIR.key }, drag: { x: false, y: false } },
      scales: {
        x: { range: (_, first, last) => [first - DAY_SECONDS / 2, last + DAY_SECONDS / 2] },
        y: { range: (_, __, highest) => [0, highest > 0 ? highest * 1.1 : 1] },
      },
      axes: [
        { ...axis, values: "{MMM} {D}", space: 60, incrs: [1, 2, 7, 14, 28, 91].map((n) => n * DAY_SECONDS) },
        { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => FORMATS[unit].format(tick)) },
      ],
      series: [
        {
          label: "Day",
          value: (_, __, ___, index) =>
            index == null ? "" : `${days[index]}${isProvisional[index] ? " (provisional)" : ""}`,
        },
        {
          label: title,
          stroke: line,
          // Bars let the hatching show through.
          fill: isAmount ? `color-mix(in srgb, ${line} 55%, transparent)` : undefined,
          width: 2,
          paths: isAmount ? uPlot.paths.bars({ size: [0.7, 40] }) : undefined,
          points: { show: !isAmount && days.length <= 31, size: 5 },
          value: (_, __, ___, index) =>
            index == null ? "" : write(figure.values[index], unit, currency),
        },
      ],
      hooks: { drawClear: [(plot) => shadeProvisionalDays(plot, isProvisional)] },
    };
  }

  function read(element) {
    const { chart, unit, title } = element.dataset;
    const source = JSON.parse(element.closest("[data-series]").dataset.series);
    return {
      unit,
      title,
      currency: source.currency,
      days: source.days,
      isProvisional: source.is_provisional,
      values: source.figures[chart],
    };
  }

  // What stands drawn: place -> the chart, and the text of the figure it was drawn from.
  const drawn = new Map();

  const resizing = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const plot = drawn.get(target)?.plot;
      if (plot && plot.width !== target.clientWidth) {
        plot.setSize({ width: target.clientWidth, height: HEIGHT });
      }
    }
  });

  function draw(element) {
    const place = element.querySelector(".plot");
    const figure = read(element);
    const text = JSON.stringify(figure);
    if (drawn.get(place)?.text === text) return;
    forget(place);
    const data = [figure.days.map(toSeconds), figure.values];
    drawn.set(place, { plot: new uPlot(options(figure, place), data, place), text });
    resizing.observe(place);
  }

  function forget(place) {
    drawn.get(place)?.plot.destroy();
    drawn.delete(place);
    resizing.unobserve(place);
  }

  function drawAll() {
    for (const place of drawn.keys()) if (!place.isConnected) forget(place);
    document.querySelectorAll("figure[data-chart]").forEach(draw);
  }

  function redrawAll() {
    for (const place of drawn.keys()) forget(place);
    drawAll();
  }

  document.addEventListener("htmx:after:swap", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
  drawAll();
})();
