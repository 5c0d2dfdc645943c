// The history page's charts: fetched from the REST API with the reader's own session, drawn by uPlot, brought up to date
// while somebody looks. Colours come from the style sheet; without this script the page's tables tell the same.

const GIB = 2 ** 30;
const OWN = { utilization: "utilization_percent", temperature: "temperature_celsius", power: "power_milliwatts" };
const SHARES = ["model_bytes", "other_bytes", "unexplained_bytes"];
const FORMATS = {
  vram: { divisor: GIB, unit: "GiB", digits: 1 },
  utilization: { divisor: 1, unit: "%", digits: 0 },
  temperature: { divisor: 1, unit: "°C", digits: 0 },
  power: { divisor: 1000, unit: "W", digits: 0 },
};
const STEPS = { vram: [1, 2, 4, 5, 8, 10] }; // memory comes in powers of two
const ROUND_STEPS = [1, 2, 2.5, 5, 10];
const MARKS = { succeeded: "--good", failed: "--bad", cancelled: "--warn", running: "--accent", queued: "--accent" };
const KINDS = { load: "Load", unload: "Unload", swap: "Swap" };
const LEAST_REFRESH_SECONDS = 10;

const root = document.getElementById("history");
const at = document.getElementById("history-at");
const problem = document.getElementById("history-problem");
const words = at?.textContent;

// ── times and numbers, in UTC like every other time of the panel ──
const parts = (options) => new Intl.DateTimeFormat("en-CA", { timeZone: "UTC", hourCycle: "h23", ...options });
const CLOCK = parts({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const MINUTES = parts({ hour: "2-digit", minute: "2-digit" });
const DAY = parts({ month: "2-digit", day: "2-digit" });
const DATE = parts({ year: "numeric", month: "2-digit", day: "2-digit" });
const WHOLE = parts({ year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" });

function tickWords(seconds, increment) {
  const date = new Date(seconds * 1000);
  if (increment >= 86400 * 28) return DATE.format(date).slice(0, 7);
  if (increment >= 86400 || seconds % 86400 === 0) return DAY.format(date);
  return increment < 60 ? CLOCK.format(date) : MINUTES.format(date);
}

function said(value, { divisor, unit, digits }) {
  return value == null ? "–" : `${(value / divisor).toFixed(digits)} ${unit}`;
}

// ── colours as the style sheet resolves them for the reader's colour scheme ──
function token(name) {
  const probe = document.createElement("i");
  probe.hidden = true;
  probe.className = "probe";
  root.append(probe);
  probe.style.color = `var(${name})`;
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

function seriesColour(series) {
  const swatch = row(series)?.querySelector(".swatch");
  return swatch ? getComputedStyle(swatch).backgroundColor : token("--other");
}

function seriesId(series) {
  return `${series.gpu}/${series.id}`;
}

function row(series) {
  return document.querySelector(`#history-shares [data-series="${CSS.escape(seriesId(series))}"]`);
}

// ── what each chart draws: columns of numbers, and how ──
function stacked(answer) {
  const shares = answer.series.filter((each) => SHARES.includes(each.kind));
  const places = new Map(shares.map((each) => [each, row(each)?.sectionRowIndex ?? shares.length]));
  shares.sort((one, other) => places.get(one) - places.get(other));
  const sums = [];
  let below = null;
  for (const series of shares) {
    below = series.mean.map((value, place) => (value === null ? null : value + (below?.[place] ?? 0)));
    sums.unshift(below);
  }
  const drawn = [...shares].reverse().map((series) => ({ label: series.name, stroke: token("--surface"), width: 1, fill: seriesColour(series) }));
  const bands = drawn.slice(1).map((_, place) => ({ series: [place + 1, place + 2] }));
  const used = answer.series.find((each) => each.kind === "used_bytes");
  if (used) {
    sums.push(used.max);
    drawn.push({ label: "most used", stroke: token("--ink"), width: 1, dash: [3, 3] });
  }
  return { columns: sums, lines: drawn, bands };
}

function spread(answer, name) {
  const series = answer.series.find((each) => each.kind === OWN[name]);
  if (!series) return { columns: [], lines: [], bands: [] };
  const accent = token("--accent");
  const wash = accent.replace(/rgba?\(([^)]*)\)/, (_, inner) => `rgba(${inner.split(",").slice(0, 3).join(",")}, .2)`);
  const plain = { width: 0, stroke: "transparent" };
  return {
    columns: [series.max, series.min, series.mean],
    lines: [{ ...plain, label: "most", fill: wash }, { ...plain, label: "least" }, { label: "mean", stroke: accent, width: 1.5 }],
    bands: [{ series: [1, 2], fill: wash }],
  };
}

function top(name, columns) {
  const total = Number(root.dataset.totalBytes);
  if (name === "vram" && total) return total;
  if (name === "utilization") return 100;
  const most = Math.max(0, ...columns.flat().filter((value) => value !== null));
  return most ? most * 1.12 : 100 * FORMATS[name].divisor;
}

// ── one chart ──
class Chart {
  constructor(box, pointAt) {
    this.box = box;
    this.name = box.dataset.chart;
    this.pointAt = pointAt;
    box.addEventListener("keydown", (event) => this.key(event));
    box.addEventListener("blur", () => this.point(null));
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(box);
  }

  draw(answer) {
    this.answer = answer;
    const { columns, lines, bands } = this.name === "vram" ? stacked(answer) : spread(answer, this.name);
    const data = [answer.times, ...columns];
    const look = JSON.stringify([lines, answer.step_seconds, token("--ink")]);
    this.box.classList.toggle("is-empty", !columns.some((column) => column.some((value) => value !== null)));
    this.top = top(this.name, columns);
    if (this.look === look) {
      this.plot.setData(data);
      return;
    }
    this.look = look;
    this.plot?.destroy();
    this.plot = new uPlot(this.options(lines, bands), data, this.box);
  }

  options(lines, bands) {
    const format = FORMATS[this.name];
    const paths = this.name === "vram" ? uPlot.paths.stepped({ align: 1 }) : uPlot.paths.linear();
    const axis = { stroke: token("--quiet"), font: "11px system-ui, sans-serif", ticks: { show: false } };
    const grid = { stroke: token("--line"), width: 1 };
    return {
      ...this.size(),
      padding: [12, 10, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "history" }, drag: { x: false, y: false }, points: { show: false }, y: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      scales: {
        x: { range: () => [Date.parse(this.answer.since) / 1000, Date.parse(this.answer.until) / 1000] },
        y: { range: () => [0, this.top] },
      },
      series: [{}, ...lines.map((line) => ({ ...line, paths, points: { show: false }, spanGaps: false }))],
      bands,
      axes: [
        { ...axis, grid: { show: false }, space: 64, size: 28, values: (_, splits, __, ___, increment) => splits.map((each) => tickWords(each, increment)) },
        {
          ...axis,
          grid,
          size: 46,
          space: 34,
          splits: () => round(this.top / format.divisor, this.box.clientHeight > 200 ? 6 : 4, STEPS[this.name] ?? ROUND_STEPS).map((each) => each * format.divisor),
          values: (_, splits) => splits.map((each) => `${each / format.divisor}`),
        },
      ],
      hooks: { draw: [(plot) => this.mark(plot)], setCursor: [(plot) => this.pointAt(plot.cursor.idx)] },
    };
  }

  size() {
    return { width: this.box.clientWidth, height: this.box.clientHeight };
  }

  // A line for each operation, and a flag by which several can be told apart.
  mark(plot) {
    const { ctx, bbox } = plot;
    const scale = devicePixelRatio;
    ctx.save();
    for (const operation of this.answer.operations) {
      const x = Math.round(plot.valToPos(operation.started, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = ctx.fillStyle = token(MARKS[operation.state] ?? "--edge");
      ctx.lineWidth = scale;
      ctx.setLineDash([2 * scale, 2 * scale]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.beginPath();
      const down = operation.kind === "unload" ? -1 : 1;
      const y = bbox.top - (down > 0 ? 9 : 2) * scale;
      ctx.moveTo(x - 4 * scale, y);
      ctx.lineTo(x + 4 * scale, y);
      ctx.lineTo(x, y + down * 7 * scale);
      ctx.fill();
    }
    ctx.restore();
  }

  // From one measured point to the next, over the gaps between them.
  key(event) {
    const measured = (this.answer?.times ?? []).map((_, place) => place).filter((place) => this.isMeasured(place));
    const last = measured.length - 1;
    const here = measured.indexOf(this.plot?.cursor.idx);
    const stride = event.shiftKey ? 10 : 1;
    const back = here < 0 ? last : here - stride;
    const to = { ArrowLeft: back, ArrowRight: here + stride, Home: 0, End: last, Escape: null }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    at.setAttribute("aria-live", "polite");
    this.point(to === null ? null : measured[Math.min(last, Math.max(0, to))]);
  }

  isMeasured(place) {
    return this.answer.series.some((each) => each.mean[place] !== null);
  }

  point(place) {
    if (!this.plot || !this.answer) return;
    const left = place === null ? -10 : this.plot.valToPos(this.answer.times[place], "x");
    this.plot.setCursor({ left, top: place === null ? -10 : 1 });
  }
}

// About so many round steps from 0 to the top.
function round(most, count, steps) {
  const rough = most / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = steps.map((each) => each * power).find((each) => each >= rough);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, place) => Number((place * step).toPrecision(6)));
}

// ── the page ──
class History {
  constructor() {
    this.charts = [...root.querySelectorAll(".plot")].map((box) => new Chart(box, (place) => this.pointAt(place)));
    this.load();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    document.addEventListener("visibilitychange", () => document.hidden || this.load());
    root.addEventListener("pointermove", () => at.removeAttribute("aria-live"));
  }

  async load() {
    clearTimeout(this.timer);
    const span = Number(root.dataset.spanSeconds);
    const until = Date.now();
    const query = new URLSearchParams({ since: new Date(until - span * 1000).toISOString(), until: new Date(until).toISOString() });
    try {
      const reply = await fetch(`${root.dataset.source}&${query}`, { redirect: "error" });
      const answer = await reply.json();
      if (!reply.ok) throw new Error(answer.detail);
      this.answer = answer;
      if (answer.series.some((each) => SHARES.includes(each.kind) && !row(each))) await this.refreshTables();
      this.draw();
      this.complain("");
    } catch (error) {
      this.complain(`The charts could not be brought up to date: ${error.message}`);
    }
    const pause = Math.max(LEAST_REFRESH_SECONDS, this.answer?.step_seconds ?? 0) * 1000;
    if (!document.hidden) this.timer = setTimeout(() => this.load(), pause);
  }

  // A model that was not there when the page was made: its line and its colour come from the page itself.
  async refreshTables() {
    const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
    const [here, fresh] = [document, page].map((each) => each.getElementById("history-shares"));
    if (here && fresh) here.replaceWith(fresh);
    else if (fresh) location.reload();
  }

  draw() {
    if (!this.answer) return;
    const place = this.place ?? null;
    for (const chart of this.charts) chart.draw(this.answer);
    this.place = undefined;
    this.pointAt(place);
  }

  complain(sentence) {
    problem.hidden = !sentence;
    problem.textContent = sentence;
  }

  pointAt(place) {
    if (!this.answer || place === this.place) return;
    this.place = place;
    const { series, times, operations, step_seconds: step } = this.answer;
    const newest = place ?? times.length - 1;
    for (const each of series) {
      if (SHARES.includes(each.kind)) {
        const cell = row(each)?.querySelector(".there");
        if (cell) cell.textContent = place === null || each.mean[place] === null ? "" : (each.mean[place] / GIB).toFixed(1);
      }
    }
    for (const [name, kind] of Object.entries(OWN)) {
      const found = series.find((each) => each.kind === kind);
      const cell = root.querySelector(`[data-of="${name}"]`);
      if (cell) cell.textContent = place === null || !found ? "" : said(found.mean[newest], FORMATS[name]);
    }
    if (place === null || place === undefined) {
      at.textContent = words;
      return;
    }
    const used = series.find((each) => each.kind === "used_bytes");
    const began = operations.filter((each) => Math.abs(each.started - times[place]) <= Math.max(step, times.length * step * 0.006));
    const sentences = [
      `${WHOLE.format(new Date(times[place] * 1000)).replace(",", "")} UTC`,
      ...(used ? [`${said(used.mean[place], FORMATS.vram)} used, ${said(used.max[place], FORMATS.vram)} at most`] : []),
      ...began.map((each) => `${KINDS[each.kind] ?? each.kind} ${each.model}: ${each.state}`),
    ];
    at.textContent = sentences.join(" · ");
  }
}

if (root) new History();
