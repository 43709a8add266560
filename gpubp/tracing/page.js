"use strict";
(() => {
// The page computes nothing but the texts of sums: all numbers come from the trace.

const trace = JSON.parse(document.getElementById("trace").textContent);
const steps = trace.steps;
const lastLayer = trace.sizes.length - 1;
const values = Object.fromEntries(
  Object.entries(trace.values).map(([name, value]) => [name, numbers(value)]));
const embedded = window.parent !== window;

// Of more than MOST neurons, the FIRST and the LAST are shown. page_text.py has the same numbers.
const MOST = 12, FIRST = 5, LAST = 2;
const GAP = -1;
const DENSE = 30; // of more edges than these between two layers, only those of one element stand out
const TICK = 1200; // milliseconds: how long an element is shown while the page plays

const PASSES = { forward: "Forward", cost: "Cost", backward: "Backward", update: "Update" };

let current = 0; // the step
let chosen = { line: 0, row: 0, column: 0 }; // the element of its result
let digits = 4;
let timer = null;

function byId(id) { return document.getElementById(id); }

/* Numbers */

function numbers(value) {
  if (Array.isArray(value)) return value.map(numbers);
  return typeof value === "string" ? { nan: NaN, inf: Infinity, "-inf": -Infinity }[value] : value;
}

/** A number with so many significant digits. Minus signs are "−", in exponents too. */
function shown(number, precision = digits) {
  const size = Math.abs(number);
  let text;
  if (Number.isNaN(number)) return "nan";
  if (size === Infinity) text = number < 0 ? "-inf" : "inf";
  else if (size && (size < 1e-4 || size >= 1e9)) {
    const [mantissa, exponent] = number.toExponential(precision - 1).split("e");
    text = `${Number(mantissa)}e${Number(exponent)}`;
  } else if (size >= 10 ** precision) text = number.toFixed(0);
  else text = String(Number(number.toPrecision(precision)) || 0);
  return text.replaceAll("-", "−");
}

/** A number in a circle: with fewer digits if it has more letters than there is room for. */
function shownIn(letters, number) {
  const texts = [3, 2, 1].map((most) => shown(number, Math.min(digits, most)));
  return texts.find((text) => text.length <= letters) ?? texts.at(-1);
}

/** A value as rows and columns: a vector is one column, the cost one cell. */
function matrix(name) {
  const value = values[name];
  if (!Array.isArray(value)) return [[value]];
  return Array.isArray(value[0]) ? value : value.map((number) => [number]);
}

/** Which of so many rows or columns are shown; GAP stands for those that are not. */
function shownOf(size) {
  const all = [...Array(size).keys()];
  return size <= MOST ? all : [...all.slice(0, FIRST), GAP, ...all.slice(size - LAST)];
}

/* Names and symbols */

/** "delta2" is the delta of layer 2; x is of layer 0; the cost and its derivative are of the last layer. */
function place(name) {
  const [, kind, layer] = name.match(/^(.*?)(\d*)$/);
  if (kind === "x" || kind === "input_gradient") return { kind, layer: 0 };
  return { kind, layer: layer === "" ? lastLayer : Number(layer) };
}

const OVER_A_NEURON = new Set(["x", "a", "b", "z", "slope", "cost_derivative", "propagated", "delta",
  "bias_gradient", "new_b", "input_gradient"]);
const OVER_AN_EDGE = new Set(["w", "weight_gradient", "new_w"]);

/** What of the drawn network a number belongs to. */
function keyOf(name, row, column) {
  const { kind, layer } = place(name);
  if (OVER_A_NEURON.has(kind)) return `neuron ${layer} ${row}`;
  if (OVER_AN_EDGE.has(kind)) return `edge ${layer} ${row} ${column}`;
  return kind === "y" ? `target ${row}` : "cost";
}

const raised = (text) => String(text).replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);

/** The symbol of a value as text, such as "∂C/∂w²". */
function symbolText(name) {
  const { kind, layer } = place(name), l = raised(layer);
  return {
    w: `w${l}`, b: `b${l}`, z: `z${l}`, a: `a${l}`, slope: `σ′(z${l})`, propagated: `e${l}`,
    delta: `δ${l}`, weight_gradient: `∂C/∂w${l}`, bias_gradient: `∂C/∂b${l}`, new_w: `new w${l}`,
    new_b: `new b${l}`, x: "x", y: "y", cost: "C", cost_derivative: `∂C/∂a${l}`,
    input_gradient: "∂C/∂x",
  }[kind] ?? name;
}

/** A symbol as HTML, with superscripts and, for an element, its indices. */
function symbol(name, indices = "") {
  const whole = make("span", { class: "symbol" });
  for (const [part, digitsAbove] of symbolText(name).matchAll(/([⁰¹²³⁴⁵⁶⁷⁸⁹]+)|new |[^⁰¹²³⁴⁵⁶⁷⁸⁹]/g)) {
    if (digitsAbove) {
      const plain = part.replace(/./g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹".indexOf(digit));
      whole.append(make("sup", {}, plain));
    } else whole.append(/[\p{L}]$/u.test(part) && part !== "new " ? make("var", {}, part) : part);
  }
  if (indices) {
    const above = whole.lastChild.nodeName === "SUP" ? whole.lastChild : null;
    const below = make("sub", {}, indices);
    whole.append(above ? make("span", { class: "both" }, above, below) : below);
  }
  return whole;
}

/** The names of columns and classes; hidden neurons have numbers. */
function neuronName(layer, index) {
  if (layer === 0) return trace.input_names[index];
  return layer === lastLayer ? trace.output_names[index] : String(index + 1);
}

function neuronTitle(layer, index) {
  if (layer === 0) return `Input ${trace.input_names[index]}`;
  const name = layer === lastLayer ? ` (${trace.output_names[index]})` : "";
  return `Neuron ${index + 1}${name} of layer ${layer}`;
}

/* What each operation computes. A line is an equation: terms, and the result. A term is a product of
   factors. `relation` says which cells of a factor an element of the result is made from: those of its
   row, those of its column, the same cell, or all. */

const factor = (name, relation = "same", transposed = false) => ({ name, relation, transposed });
const product = (left, right) => [factor(...left), factor(...right)];

function linesOf(step) {
  const l = place(step.writes).layer;
  const before = l === 1 ? "x" : `a${l - 1}`;
  const line = (terms, result = step.writes, more = {}) => ({ terms, result, ...more });
  switch (step.operation) {
    case "affine": {
      const terms = [{ factors: product([`w${l}`, "row"], [before, "column"]) }];
      if (values[`b${l}`]) terms.push({ factors: [factor(`b${l}`)] });
      return [line(terms)];
    }
    case "activation":
      return [line([{ around: "σ", factors: [factor(`z${l}`)] }], step.writes, { text: activationText })];
    case "slope": {
      const read = step.reads.at(-1); // many derivatives are computed from a
      const more = { text: derivativeText, equals: place(read).kind === "z" ? "=" : "→" };
      return [line([{ around: more.equals === "=" ? "σ′" : null, factors: [factor(read)] }], step.writes, more)];
    }
    case "softmax": {
      const terms = [{ around: "softmax", factors: [factor(`z${l}`, "all")] }];
      return [line(terms, step.writes, { text: softmaxText })];
    }
    case "cost": {
      const factors = [factor(`a${l}`, "all"), factor("y", "all")];
      return [line([{ around: "C", factors, join: "," }], "cost", { text: costText })];
    }
    case "cost_derivative": {
      if (isDifference(l)) return [line(difference(l))];
      const factors = [factor(`a${l}`), factor("y")];
      return [line([{ around: "∂C/∂a", factors, join: "," }], step.writes, { text: derivativeText })];
    }
    case "output_delta":
      return [line([{ factors: [factor("cost_derivative"), factor(`slope${l}`)], join: "⊙" }])];
    case "output_delta_fused":
      return [line(difference(l))];
    case "output_delta_softmax": {
      const factors = [factor(`a${l}`, "all"), factor("cost_derivative", "all")];
      return [line([{ factors: factors, join: "⊙ (… −) " }], step.writes, { text: jacobianText })];
    }
    case "propagate":
      return [line([{ factors: product([`w${l + 1}`, "row", true], [`delta${l + 1}`, "column"]) }])];
    case "input_gradient":
      return [line([{ factors: product(["w1", "row", true], ["delta1", "column"]) }])];
    case "delta":
      return [line([{ factors: [factor(`propagated${l}`), factor(`slope${l}`)], join: "⊙" }])];
    case "weight_gradient":
      return [line([{ factors: product([`delta${l}`, "row"], [before, "column", true]) }])];
    case "bias_gradient":
      return [line([{ factors: [factor(`delta${l}`)] }])];
    case "update": {
      const change = (kind, gradient) => line([
        { factors: [factor(`${kind}${l}`)] },
        { sign: "−", scalar: trace.learning_rate, factors: [factor(`${gradient}${l}`)] },
      ], `new_${kind}${l}`);
      const lines = [change("w", "weight_gradient")];
      if (values[`new_b${l}`]) lines.push(change("b", "bias_gradient"));
      return lines;
    }
  }
  return [line(step.reads.map((name) => ({ factors: [factor(name)] })), step.writes, { text: givenText })];
}

const difference = (l) => [{ factors: [factor(`a${l}`)] }, { sign: "−", factors: [factor("y")] }];

/** Whether ∂C/∂a is a - y here; other costs have other derivatives. */
function isDifference(l) {
  const { y, cost_derivative: derivative, [`a${l}`]: a } = values;
  return derivative.every((number, k) =>
    Math.abs(number - (a[k] - y[k])) <= 1e-6 * (Math.abs(a[k]) + Math.abs(y[k])));
}

/** The number of a factor at a row and a column of the matrix as it is drawn. */
function at(part, row, column) {
  const rows = matrix(part.name);
  return part.transposed ? rows[column][row] : rows[row][column];
}

function sizeOf(part) {
  const rows = matrix(part.name), size = [rows.length, rows[0].length];
  return part.transposed ? size.reverse() : size;
}

function isUsed(part, row, column, element) {
  return {
    row: row === element.row,
    column: column === element.column,
    same: row === element.row && column === element.column,
    all: true,
  }[part.relation];
}

/* The sum of one element */

const inParentheses = (number) =>
  number < 0 ? `(${shown(number)})` : shown(number);

/** "0.5·1 + 0.25·2 − 1·0.3 + 0.1" */
function sumText(line, element) {
  const { row, column } = element;
  if (line.text) return line.text(line, row);
  let text = "";
  const add = (sign, size) => {
    if (text) text += ` ${sign} ${size}`;
    else text = (sign === "−" ? "−" : "") + size;
  };
  for (const term of line.terms) {
    const [left, right] = term.factors;
    const isProduct = left.relation === "row";
    for (const k of isProduct ? shownOf(sizeOf(left)[1]) : [0]) {
      if (k === GAP) {
        add("+", "…");
        continue;
      }
      const parts = isProduct ? [at(left, row, k), at(right, k, column)]
        : term.factors.map((part) => at(part, row, column));
      if (term.scalar !== undefined) parts.unshift(term.scalar);
      const [head, ...others] = parts;
      const negative = term.sign !== "−" && head < 0;
      const first = negative ? shown(-head) : term.sign === "−" ? inParentheses(head) : shown(head);
      add(term.sign ?? (negative ? "−" : "+"), [first, ...others.map(inParentheses)].join("·"));
    }
  }
  return text;
}

/** The activation's formula with the number in place of z, or its name and the number. */
function activationText(line, row) {
  const layer = place(line.result).layer, z = matrix(`z${layer}`)[row][0];
  const formula = trace.activation_formulas[layer - 1] ?? "";
  // What follows a comma outside of parentheses is a condition.
  const right = rightSide(formula).replace(/,(?![^(]*\)).*$/, "");
  return substituted(right, { z, ...parametersOf(trace.activations[layer - 1]) }) ?? `${trace.activations[layer - 1]}(${shown(z)})`;
}

/** The formula of a derivative, of which the step's equation tells the right side. */
function derivativeText(line, row) {
  const { layer } = place(line.result), number = (name) => matrix(name)[row]?.[0];
  const isCost = line.result === "cost_derivative";
  const known = { z: number(`z${layer}`), a: number(`a${layer}`), y: isCost ? number("y") : undefined };
  Object.assign(known, parametersOf(isCost ? trace.cost : trace.activations[layer - 1]));
  const right = rightSide(steps[current].equation);
  return substituted(right, known) ?? (isCost ? givenText(line, row) : `σ′(${shown(known.z)})`);
}

const rightSide = (equation) => (equation.includes("=") ? equation.slice(equation.indexOf("=") + 1).trim() : "");

/** "leaky_relu(slope=0.2)" has the parameter slope. */
const parametersOf = (name) => Object.fromEntries(
  [...name.matchAll(/(\w+)=(-?[\d.]+(?:e[-+]?\d+)?)/g)].map(([, parameter, value]) => [parameter, Number(value)]));

/** A formula with numbers in place of its variables; undefined if it has none of them. */
function substituted(formula, known) {
  // A square of a variable is one, too: a². Other superscripts belong to layers.
  const variable = /(?<![\p{L}\p{N}′_])(\p{L}+)(?![\p{L}\d′_₀-₉⁰¹⁴-⁹])/gu;
  let found = /^[\d.]+$/.test(formula); // a number alone, too
  const text = formula.replace(variable, (name, _, offset) => {
    if (known[name] === undefined) return name;
    found = true;
    const before = formula.slice(0, offset), after = formula.slice(offset + name.length);
    const alone = /(^|[(,<>=]\s*|if |else )$/.test(before) && /^\s*([),<>=]|$|if |else |[-+] )/.test(after);
    return alone ? shown(known[name]) : inParentheses(known[name]);
  });
  if (!found) return undefined;
  // "slope z" has no sign between its factors, but numbers need one.
  const times = /(?<=[\d)²³]) (?=[\d(√]|\p{L}+\()/gu;
  return text.replaceAll("-", "−").replace(times, "·");
}

function softmaxText(line, row) {
  const z = matrix(`z${place(line.result).layer}`);
  const below = shownOf(z.length).map((k) => (k === GAP ? "…" : `exp(${shown(z[k][0])})`));
  return `exp(${shown(z[row][0])}) / (${below.join(" + ")})`;
}

function jacobianText(line, row) {
  const a = matrix(line.terms[0].factors[0].name), g = matrix("cost_derivative");
  const sum = shownOf(a.length).map((k) =>
    (k === GAP ? "…" : `${inParentheses(g[k][0])}·${inParentheses(a[k][0])}`));
  return `${shown(a[row][0])}·(${shown(g[row][0])} − (${sum.join(" + ")}))`;
}

function costText() {
  const { terms, equation } = steps.find((step) => step.operation === "cost");
  if (!terms?.length) return equation.replace(/^\s*C\s*=/, "").replaceAll("-", "−").trim();
  return shownOf(terms.length).map((k) => (k === GAP ? "…" : inParentheses(numbers(terms[k][1])))).join(" + ");
}

function givenText(line, row) {
  const parts = line.terms.flatMap((term) => term.factors);
  return parts.map((part) => `${symbolText(part.name)} = ${shown(matrix(part.name)[row]?.[0] ?? NaN)}`)
    .join(", ") + ", which gives";
}

/* Making elements */

function fill(element, attributes, content) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...content.filter((part) => part !== null && part !== undefined));
  return element;
}
function make(tag, attributes = {}, ...content) {
  return fill(document.createElement(tag), attributes, content);
}
function draw(tag, attributes = {}, ...content) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, content);
}

/* The network */

const drawing = { parts: new Map(), svg: null, width: 0, active: "" };

function shortened(name, most) {
  const letters = [...name]; // by code points: half of an emoji is none
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : name;
}

/** Draw the network for the width that there is. Numbers and colours come later, with each step. */
function drawNetwork() {
  const box = byId("drawing");
  const available = box.clientWidth || drawing.width || 560; // a frame that is not seen yet has no width
  if (available === drawing.width) return;
  drawing.width = available;
  const columns = trace.sizes.map(shownOf);
  const most = Math.max(...columns.map((column) => column.length));
  const top = 54, marginOf = (radius) => radius + 10;
  const acrossOf = (radius) => (available - 2 * marginOf(radius)) / (lastLayer + 1);
  const radius = [27, 23].find((size) => most <= (size === 27 ? 5 : 8) && acrossOf(size) >= 2 * size + 22) ?? 18;
  const gap = 2 * radius + 36, margin = marginOf(radius);
  const across = Math.max(acrossOf(radius), 2 * radius + 22);
  const isTight = across < 64; // too narrow for "layer 1" above each column
  const width = 2 * margin + across * (lastLayer + 1), height = top + most * gap + 12;
  const x = (layer) => margin + layer * across;
  const y = (layer, slot) => top + gap * (slot + 0.5 + (most - columns[layer].length) / 2) - 8;
  const slots = columns.map((column) => new Map(column.map((index, slot) => [index, slot])));
  const letters = Math.max(6, Math.floor(across / 7));
  drawing.radius = radius;
  drawing.centre = (layer) => x(layer) - across / 2;
  drawing.parts.clear();
  const edges = draw("g"), flows = draw("g", { class: "flows" }), neurons = draw("g"), labels = draw("g");
  const add = (key, part) => drawing.parts.set(key, part);

  for (let layer = 1; layer <= lastLayer; layer++) {
    const title = layer === lastLayer ? "output" : isTight ? String(layer) : `layer ${layer}`;
    labels.append(
      draw("text", { class: "heading", x: x(layer), y: 16 }, title),
      draw("text", { class: "subheading", x: x(layer), y: 32 },
        shortened(trace.activations[layer - 1], letters)));
    for (const row of columns[layer]) {
      for (const column of columns[layer - 1]) {
        if (row === GAP || column === GAP) continue;
        const from = [x(layer - 1), y(layer - 1, slots[layer - 1].get(column))];
        const to = [x(layer), y(layer, slots[layer].get(row))];
        const path = `M${from.join(" ")}L${to.join(" ")}`;
        const isDense = columns[layer].length * columns[layer - 1].length > DENSE;
        const line = draw("path", { class: `edge${isDense ? " dense" : ""}`, d: path });
        const flow = draw("path", { class: "flow", d: path });
        const text = draw("text", { class: "weight" });
        edges.append(line);
        flows.append(flow);
        labels.append(text);
        add(`edge ${layer} ${row} ${column}`, { line, flow, text, from, to, isDense });
      }
    }
  }
  labels.append(draw("text", { class: "heading", x: x(0), y: 16 }, "input"));
  columns.forEach((column, layer) => column.forEach((index, slot) => {
    const [cx, cy] = [x(layer), y(layer, slot)];
    if (index === GAP) {
      neurons.append(draw("text", { class: "gap", x: cx, y: cy - 3 }, "⋮"),
        draw("text", { class: "more", x: cx, y: cy + 14 }, `${trace.sizes[layer] - FIRST - LAST} more`));
      return;
    }
    const halo = draw("circle", { class: "halo", cx, cy, r: radius + 5 });
    const circle = draw("circle", { class: "body", cx, cy, r: radius });
    const small = radius < 22;
    const kind = draw("text", { class: "kind", x: cx, y: cy - radius * 0.36 });
    const number = draw("text", { class: "number", x: cx, y: cy + (small ? 4 : radius * 0.36) });
    const group = draw("g", { class: `neuron${small ? " small" : ""}`, role: "img", tabindex: -1 },
      halo, circle, small ? null : kind, number);
    if (layer === 0 || layer === lastLayer) {
      const name = neuronName(layer, index), text = shortened(name, letters);
      // A long name of an input begins at the edge of the drawing, so that none of it is cut off.
      const begins = layer === 0 && text.length * 7 > 2 * margin;
      group.append(draw("text", { class: `name${begins ? " begins" : ""}`, x: begins ? 2 : cx, y: cy + radius + 19 }, text),
        draw("title", {}, name));
    }
    group.addEventListener("pointerenter", () => readNeuron(layer, index));
    group.addEventListener("focus", () => readNeuron(layer, index));
    group.addEventListener("click", () => readNeuron(layer, index));
    neurons.append(group);
    add(`neuron ${layer} ${index}`, { group, circle, kind, number, layer, index, slot });
  }));
  const beyond = lastLayer + 1, side = radius * 0.8;
  labels.append(draw("text", { class: "heading", x: x(beyond), y: 16 }, "target"));
  columns[lastLayer].forEach((index, slot) => {
    if (index === GAP) return;
    const [cx, cy] = [x(beyond), y(lastLayer, slot)];
    const rect = draw("rect", { x: cx - radius, y: cy - side, width: 2 * radius, height: 2 * side, rx: 5 });
    const text = draw("text", { class: "number", x: cx, y: cy + 4 });
    const link = draw("path", { class: "link", d: `M${x(lastLayer)} ${cy}L${cx} ${cy}` });
    edges.append(link);
    const group = draw("g", { class: `target${radius < 22 ? " small" : ""}` }, rect, text);
    neurons.append(group);
    add(`target ${index}`, { group, link, number: text });
  });
  // The cost stands above the targets, where no neuron is.
  const cost = draw("text", { class: "cost", x: width - 2, y: 47 });
  labels.append(cost);
  add("cost", { group: cost, number: cost });

  drawing.svg = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group",
    "aria-label": `The network: ${trace.sizes.join(", ")} neurons` }, edges, flows, neurons, labels);
  box.replaceChildren(drawing.svg);
  makeCurrentNeuron(`neuron ${Math.min(1, lastLayer)} 0`);
}

/** One neuron is reached with Tab; the arrow keys go on from there. */
function makeCurrentNeuron(key) {
  drawing.parts.get(drawing.active)?.group.setAttribute("tabindex", -1);
  drawing.parts.get(key).group.setAttribute("tabindex", 0);
  drawing.active = key;
}

/** The values of a neuron that the steps so far have computed, as names. */
function computedOf(layer, known) {
  const names = layer === 0 ? ["x", "input_gradient"]
    : ["b", "z", "a", "slope", "propagated", "delta", "bias_gradient", "new_b"].map((name) => name + layer);
  if (layer === lastLayer) names.splice(4, 0, "cost_derivative");
  return names.filter((name) => values[name] && known.has(name));
}

function knownSoFar() {
  const known = new Set(["x", "y"]);
  for (let layer = 1; layer <= lastLayer; layer++) known.add(`w${layer}`).add(`b${layer}`);
  for (const step of steps.slice(0, current + 1)) {
    known.add(step.writes);
    if (step.operation === "update") known.add(step.writes.replace("new_w", "new_b"));
  }
  return known;
}

function neuronText(layer, index) {
  const parts = computedOf(layer, knownSoFar())
    .map((name) => `${symbolText(name)} = ${shown(values[name][index])}`);
  return `${neuronTitle(layer, index)}: ${parts.join(", ")}`;
}

/** Show a neuron's numbers, and choose its element if the step computes one. */
function readNeuron(layer, index) {
  makeCurrentNeuron(`neuron ${layer} ${index}`);
  byId("readout").textContent = neuronText(layer, index);
  const lines = linesOf(steps[current]);
  const line = lines.findIndex(({ result }) => {
    const { kind, layer: of } = place(result);
    return OVER_A_NEURON.has(kind) && of === layer;
  });
  if (line >= 0) choose({ line, row: index, column: 0 });
}

/** What a neuron shows at this step: δ as far as the backward pass has come, else a, else z. */
function nameInNeuron(layer, known) {
  const backward = layer === 0 ? ["input_gradient"] : [`delta${layer}`, `propagated${layer}`];
  const forward = layer === 0 ? ["x"] : [`a${layer}`, `z${layer}`];
  return [...backward, ...forward].find((name) => known.has(name));
}

/** Numbers, colours and thickness for the current step. */
function updateNetwork() {
  const step = steps[current], known = knownSoFar();
  const isBack = step.pass === "backward" || step.pass === "update";
  drawing.svg.dataset.pass = step.pass;
  const reads = keysOf(step.reads), writes = keysOf(linesOf(step).map((line) => line.result));
  const largest = (numbers) => Math.max(...numbers.filter(Number.isFinite).map(Math.abs), 0) || 1;

  for (let layer = 0; layer <= lastLayer; layer++) {
    const name = nameInNeuron(layer, known);
    const now = name && largest(values[name]);
    const isDelta = name !== undefined && /^(delta|propagated|input)/.test(name);
    for (const index of shownOf(trace.sizes[layer])) {
      if (index === GAP) continue;
      const { group, circle, kind, number } = drawing.parts.get(`neuron ${layer} ${index}`);
      const value = name ? values[name][index] : undefined;
      const level = value === undefined ? 0 : Number.isFinite(value) ? Math.abs(value) / now : 0;
      circle.style.setProperty("--level", `${Math.round(4 + 34 * level)}%`);
      group.classList.toggle("empty", value === undefined);
      group.classList.toggle("negative", value < 0);
      group.classList.toggle("of-delta", isDelta);
      group.classList.toggle("earlier", isBack && !isDelta);
      number.textContent = value === undefined ? "" : shownIn(drawing.radius / 3.8, value);
      number.classList.toggle("long", number.textContent.length > drawing.radius / 4.3);
      const short = name ? place(name).kind : "";
      kind.textContent = { delta: "δ", propagated: "e", input_gradient: "∂C/∂x" }[short] ?? short;
      group.setAttribute("aria-label", neuronText(layer, index));
    }
  }
  for (const index of shownOf(trace.sizes[lastLayer])) {
    if (index === GAP) continue;
    const target = drawing.parts.get(`target ${index}`);
    target.number.textContent = shownIn(drawing.radius / 3.8, values.y[index]);
    target.link.classList.toggle("reads", reads.has(`target ${index}`));
  }
  const cost = drawing.parts.get("cost");
  cost.number.textContent = known.has("cost") ? `C = ${shown(values.cost, Math.min(digits, 4))}` : "";
  for (let layer = 1; layer <= lastLayer; layer++) {
    const name = known.has(`new_w${layer}`) ? `new_w${layer}` : `w${layer}`;
    const most = largest(values[name].flat());
    values[name].forEach((row, j) => row.forEach((weight, k) => {
      const edge = drawing.parts.get(`edge ${layer} ${j} ${k}`);
      if (!edge) return;
      const size = Number.isFinite(weight) ? Math.abs(weight) / most : 1;
      edge.line.style.setProperty("--size", size.toFixed(3));
      edge.line.classList.toggle("negative", weight < 0);
      edge.line.classList.toggle("zero", weight === 0);
    }));
  }
  const flows = { affine: "forward", propagate: "back", input_gradient: "back" }[step.operation];
  for (const [key, part] of drawing.parts) {
    const target = part.group ?? part.line;
    target.classList.toggle("reads", reads.has(key));
    target.classList.toggle("writes", writes.has(key));
    if (part.flow) part.flow.setAttribute("class", `flow${part.isDense ? " dense" : ""} ${flows && reads.has(key) ? flows : ""}`);
  }
}

/** All of the network that some values belong to. */
function keysOf(names) {
  const keys = new Set();
  for (const name of names) {
    if (values[name] === null || values[name] === undefined) continue;
    matrix(name).forEach((row, j) => row.forEach((_, k) => keys.add(keyOf(name, j, k))));
  }
  return keys;
}

/* The product of the current equation */

function makeTable(part, lineNumber) {
  const isResult = lineNumber !== undefined;
  const [height, width] = sizeOf(part);
  const rows = shownOf(height), columns = shownOf(width);
  const label = part.transposed ? `(${symbolText(part.name)})ᵀ` : symbolText(part.name);
  const { layer } = place(part.name);
  const table = make("table", { class: `matrix${columns.length > 5 ? " many" : ""}`, "aria-label": label, role: isResult ? "grid" : "table" });
  // All numbers of a column end with as many places, of which those that are not written stay empty.
  const texts = rows.map((i) => columns.map((j) => (i === GAP || j === GAP ? null : shown(at(part, i, j)))));
  const places = (text) => text === null ? 0 : (/[en]/.test(text) || !text.includes(".") ? 0 : text.length - text.indexOf("."));
  const most = columns.map((_, c) => Math.max(...texts.map((row) => places(row[c]))));
  rows.forEach((i, r) => {
    const row = make("tr");
    if (isResult && !part.transposed && !OVER_AN_EDGE.has(place(part.name).kind)) {
      const name = i === GAP ? "more" : part.name === "cost" ? "cost" : neuronName(layer, i);
      row.append(make("th", { scope: "row", class: "only-heard" }, name));
    }
    columns.forEach((j, c) => {
      const text = texts[r][c];
      if (text === null) {
        row.append(make("td", { class: "gap" }, i === GAP && j === GAP ? "⋱" : i === GAP ? "⋮" : "⋯"));
        return;
      }
      const cell = make("td", { "data-row": i, "data-column": j }, text);
      cell.style.setProperty("--empty", most[c] - places(text));
      if (isResult) {
        cell.tabIndex = -1;
        const choice = { line: lineNumber, row: i, column: j };
        cell.addEventListener("pointerenter", () => choose(choice));
        cell.addEventListener("click", () => choose(choice));
        cell.addEventListener("focus", () => choose(choice, true));
      }
      row.append(cell);
    });
    table.append(row);
  });
  part.table = table;
  const caption = make("div", { class: "caption", "aria-hidden": "true" },
    ...(part.transposed ? ["(", symbol(part.name), ")", make("sup", {}, "T")] : [symbol(part.name)]));
  const size = height > 1 || width > 1 ? make("span", { class: "size" }, `${height}×${width}`) : null;
  if (size) caption.append(" ", size);
  return make("div", { class: `operand${isResult ? " result" : ""}` },
    make("div", { class: "bracketed" }, table), caption);
}

function makeLine(line, lineNumber) {
  const box = make("div", { class: "line" });
  const sign = (text) => make("span", { class: "sign" }, text);
  line.terms.forEach((term, t) => {
    if (t > 0 || term.sign) box.append(sign(term.sign ?? "+"));
    if (term.scalar !== undefined) box.append(sign(`${shown(term.scalar)} ·`));
    if (term.around) box.append(sign(`${term.around} (`));
    if (line.text === jacobianText) {
      const [a, g] = term.factors;
      box.append(makeTable(a), sign("⊙ ("), makeTable(g), sign("− Σ g a )"));
    } else {
      term.factors.forEach((part, k) => {
        if (k > 0 && term.join) box.append(sign(term.join));
        box.append(makeTable(part));
      });
    }
    if (term.around) box.append(sign(")"));
  });
  line.resultPart = factor(line.result);
  box.append(make("span", { class: "end" }, sign(line.equals ?? "="), makeTable(line.resultPart, lineNumber)));
  return box;
}

let lines = [];

function showProduct() {
  const box = byId("product"), hadFocus = box.contains(document.activeElement);
  lines = linesOf(steps[current]);
  box.replaceChildren(...lines.map(makeLine));
  const { line = 0, row, column } = chosen;
  const [height, width] = sizeOf(lines[line]?.resultPart ?? lines[0].resultPart);
  choose(lines[line] && row < height && column < width ? chosen : { line: 0, row: 0, column: 0 });
  if (hadFocus) chosenCell()?.focus();
}

function cellOf({ line, row, column }) {
  return lines[line].resultPart.table.querySelector(`[data-row="${row}"][data-column="${column}"]`);
}
const chosenCell = () => cellOf(chosen);

/** Show where an element of the result comes from. */
function choose(element, heard = false) {
  chosen = element;
  const line = lines[element.line], { row, column } = element;
  const lit = new Map();
  for (const each of byId("product").querySelectorAll(".used, .chosen")) {
    each.classList.remove("used", "chosen");
    each.removeAttribute("aria-selected");
  }
  for (const each of byId("product").querySelectorAll(".result [tabindex='0']")) each.tabIndex = -1;
  for (const part of line.terms.flatMap((term) => term.factors)) {
    const [height, width] = sizeOf(part);
    for (let i = 0; i < height; i++) {
      for (let j = 0; j < width; j++) {
        if (!isUsed(part, i, j, element)) continue;
        const [r, c] = part.transposed ? [j, i] : [i, j];
        lit.set(keyOf(part.name, r, c), part.name);
      }
    }
    for (const cell of part.table.querySelectorAll("[data-row]")) {
      cell.classList.toggle("used",
        isUsed(part, Number(cell.dataset.row), Number(cell.dataset.column), element));
    }
  }
  const result = line.result, number = matrix(result)[row][column];
  lit.set(keyOf(result, row, column), result);
  lines.forEach((each, index) => {
    const cell = cellOf(index === element.line ? element : { line: index, row: 0, column: 0 });
    if (cell) cell.tabIndex = 0;
  });
  const cell = chosenCell();
  cell?.classList.add("chosen");
  cell?.setAttribute("aria-selected", "true");
  lightUp(lit);

  const sum = sumText(line, element);
  const isMatrix = OVER_AN_EDGE.has(place(result).kind);
  const indices = isMatrix ? `${row + 1},${column + 1}` : result === "cost" ? "" : String(row + 1);
  const where = make("span", { class: "where" }, elementTitle(result, row, column));
  byId("element").replaceChildren(where, make("p", { class: "sum-line" },
    symbol(result, indices), " = ", make("span", { class: "sum" }, sum), " = ",
    make("strong", { class: "number" }, shown(number))));
  if (line.text === costText) showCostTerms();
  if (heard) byId("live").textContent = `${where.textContent}: ${sum} = ${shown(number)}`;
}

function elementTitle(name, row, column) {
  const { kind, layer } = place(name);
  if (kind === "cost") return "The cost of this row";
  if (!OVER_AN_EDGE.has(kind)) return neuronTitle(layer, row);
  const from = layer === 1 ? `input ${neuronName(0, column)}` : `neuron ${column + 1} of layer ${layer - 1}`;
  const to = layer === lastLayer ? `${row + 1} (${neuronName(layer, row)})` : row + 1;
  return `Weight from ${from} to neuron ${to} of layer ${layer}`;
}

function showCostTerms() {
  const { terms } = steps.find((step) => step.operation === "cost");
  if (!terms?.length) return;
  const rows = shownOf(terms.length).map((k) => (k === GAP ? make("tr", {}, make("td", {}, "⋮"))
    : make("tr", {}, make("th", { scope: "row" }, `Output ${terms[k][0]}`),
      make("td", {}, shown(numbers(terms[k][1]))))));
  byId("element").append(make("table", { class: "terms", "aria-label": "The terms of the sum" }, ...rows));
}

/** Light up the neurons and edges of an element; edges get their numbers where there is room. */
function lightUp(lit) {
  const edges = [...lit.keys()].filter((key) => key.startsWith("edge"));
  const { operation } = steps[current];
  const along = { affine: 0.36, propagate: 0.64, input_gradient: 0.64 }[operation] ?? 0.5;
  for (const [key, part] of drawing.parts) {
    (part.group ?? part.line).classList.toggle("lit", lit.has(key));
    if (!part.text) continue;
    part.flow.classList.toggle("lit", lit.has(key));
    part.text.textContent = "";
    const [dx, dy] = [part.to[0] - part.from[0], part.to[1] - part.from[1]];
    if (!lit.has(key) || edges.length > 8 || dx < 2 * drawing.radius + 44) continue;
    const [, , row, column] = key.split(" ").map(Number);
    part.text.textContent = shown(values[lit.get(key)][row][column], Math.min(digits, 3));
    const covered = drawing.radius / Math.hypot(dx, dy); // by the circle at either end
    const position = covered + along * (1 - 2 * covered);
    part.text.setAttribute("x", part.from[0] + position * dx);
    part.text.setAttribute("y", part.from[1] + position * dy + 4);
  }
}

/* Steps */

function makeSteps() {
  const groups = [];
  steps.forEach((step, k) => {
    if (!groups.length || groups.at(-1).pass !== step.pass) groups.push({ pass: step.pass, items: [] });
    const button = make("button", { type: "button", "data-step": k, title: step.title },
      symbol(step.writes), make("span", { class: "only-heard" }, `, step ${k + 1}: ${step.title}`));
    button.addEventListener("click", () => goTo(k));
    groups.at(-1).items.push(make("li", {}, button));
  });
  byId("steps").replaceChildren(...groups.map(({ pass, items }, k) => make("div", { class: "group", "data-pass": pass },
    make("span", { class: "label", id: `group-${k}` }, PASSES[pass] ?? pass),
    make("ol", { "aria-labelledby": `group-${k}` }, ...items))));
}

/** "δ² is −0.0469, 0.125." Matrices row by row. */
function spokenValue(name) {
  const rows = matrix(name), isMatrix = OVER_AN_EDGE.has(place(name).kind);
  const list = (cells, say) => shownOf(cells.length).map((k) => (k === GAP ? "…" : say(cells[k], k)));
  const text = isMatrix
    ? list(rows, (row, k) => `row ${k + 1}: ${list(row, (number) => shown(number)).join(", ")}`).join("; ")
    : list(rows, ([number]) => shown(number)).join(", ");
  return `${symbolText(name)} is ${text}.`;
}

function show() {
  const step = steps[current];
  document.documentElement.dataset.pass = step.pass;
  const isFocused = byId("steps").contains(document.activeElement);
  for (const button of byId("steps").querySelectorAll("button")) {
    const isCurrent = Number(button.dataset.step) === current;
    button.tabIndex = isCurrent ? 0 : -1; // one stop of Tab: the arrow keys go on from there
    button.classList.toggle("done", Number(button.dataset.step) < current);
    if (!isCurrent) button.removeAttribute("aria-current");
    else {
      button.setAttribute("aria-current", "step");
      if (isFocused) button.focus({ preventScroll: true });
      const box = byId("steps"); // not scrollIntoView, which would move the page, too
      box.scrollLeft = button.offsetLeft - box.clientWidth / 2;
    }
  }
  const count = `Step ${current + 1} of ${steps.length}`;
  byId("count").textContent = count;
  byId("pass").textContent = step.operation === "cost" ? "After the forward pass" : `${PASSES[step.pass]} · layer ${step.layer}`;
  byId("step-title").textContent = step.title;
  byId("symbolic").replaceChildren(
    document.querySelector(`#plain-${current} math`).cloneNode(true));
  byId("meaning").textContent = step.text;
  byId("code").replaceChildren(...(step.code ? ["In gpubp: ", make("code", {}, step.code)] : []));
  for (const id of ["first", "previous"]) byId(id).setAttribute("aria-disabled", current === 0);
  for (const id of ["next", "last"]) byId(id).setAttribute("aria-disabled", current === steps.length - 1);
  updateNetwork();
  byId("drawing").scrollLeft = drawing.centre(step.layer) - byId("drawing").clientWidth / 2;
  showProduct();
  byId("readout").textContent = "Point at a neuron to see its numbers, or go to it with Tab and the arrow keys.";
  const isCut = lines.some((line) => [line.resultPart, ...line.terms.flatMap((term) => term.factors)]
    .some((part) => sizeOf(part).some((size) => size > MOST)));
  byId("hint").textContent = "Choose a number of the result to see where it comes from."
    + (isCut ? ` Of more than ${MOST} rows or columns the first ${FIRST} and the last ${LAST} are shown; “…” stands for the terms between.` : "");
  const results = lines.map((line) => spokenValue(line.result)).join(" ");
  const after = step.operation === "update" && current === steps.length - 1 && Number.isFinite(values.new_cost)
    ? ` The cost was ${shown(values.cost)}; after the step it is ${shown(values.new_cost)}.` : "";
  if (after) byId("meaning").textContent += after;
  byId("live").textContent =
    `${count}, ${step.pass}: ${step.equation.replaceAll("-", "−")}. ${results}${after}`;
  letScroll();
  if (!embedded) history.replaceState(null, "", `#${encodeURIComponent(step.id)}`);
}

/** What is wider than its box can be scrolled with keys once it has the focus. */
function letScroll() {
  for (const box of document.querySelectorAll("#product, .equation, .tables, .formulas dd")) {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

function goTo(step) {
  const wanted = Math.max(0, Math.min(steps.length - 1, step));
  if (wanted === current) return;
  current = wanted;
  chosen = { line: 0, row: 0, column: 0 };
  show();
}

/** Go to the nearest step of another layer or pass. */
function goToLayer(direction) {
  const part = (step) => `${step.pass} ${step.layer}`;
  let k = current;
  while (steps[k + direction] && part(steps[k + direction]) === part(steps[current])) k += direction;
  k += direction;
  if (direction < 0 && steps[k]) { // its first step
    while (steps[k - 1] && part(steps[k - 1]) === part(steps[k])) k -= 1;
  }
  goTo(k);
}

/* Playing */

function tick() {
  const [height, width] = sizeOf(lines[chosen.line].resultPart);
  const next = chosen.row * width + chosen.column + 1;
  if (next < Math.min(height * width, 4)) {
    choose({ line: chosen.line, row: Math.floor(next / width), column: next % width });
  } else if (current < steps.length - 1) goTo(current + 1);
  else play(false);
}

function play(on = timer === null) {
  if (on && current === steps.length - 1) goTo(0);
  clearInterval(timer);
  timer = on ? setInterval(tick, TICK) : null;
  byId("play").setAttribute("aria-label", on ? "Pause" : "Play");
  byId("play").classList.toggle("on", on);
}

function byHand(action) {
  play(false);
  action();
}

/* Keys */

/** Move within a grid of cells or neurons; return whether there was somewhere to go. */
function moveInResult(key) {
  const { row, column, line } = chosen;
  const [height, width] = sizeOf(lines[line].resultPart);
  const next = (index, size, by) => {
    const all = shownOf(size).filter((k) => k !== GAP), at = all.indexOf(index) + by;
    return all[Math.max(0, Math.min(all.length - 1, at))];
  };
  const isAcross = key === "ArrowLeft" || key === "ArrowRight";
  if (isAcross && width === 1) return false;
  const by = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
  cellOf({ line, row: isAcross ? row : next(row, height, by), column: isAcross ? next(column, width, by) : column })
    .focus();
  return true;
}

function moveInNetwork(key) {
  const { layer, slot } = drawing.parts.get(drawing.active);
  const across = { ArrowLeft: -1, ArrowRight: 1 }[key] ?? 0, down = { ArrowUp: -1, ArrowDown: 1 }[key] ?? 0;
  const neurons = [...drawing.parts.values()].filter((part) => part.circle && part.layer === layer + across);
  const nearest = neurons.filter((part) => across || Math.sign(part.slot - slot) === down)
    .sort((one, other) => Math.abs(one.slot - slot) - Math.abs(other.slot - slot))[0];
  nearest?.group.focus();
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || byId("keys").open) return;
  const target = event.target;
  if (target.matches("select, input")) return;
  if (event.key.startsWith("Arrow")) {
    if (target.closest(".result") && moveInResult(event.key)) return event.preventDefault();
    if (target.closest("svg .neuron") && moveInNetwork(event.key)) return event.preventDefault();
    if (target.scrollWidth > target.clientWidth + 1 && target.tabIndex === 0 && target !== document.body) {
      return undefined; // it scrolls
    }
  }
  const action = {
    ArrowLeft: () => goTo(current - 1),
    ArrowRight: () => goTo(current + 1),
    Home: () => goTo(0),
    End: () => goTo(steps.length - 1),
    "[": () => goToLayer(-1),
    "]": () => goToLayer(1),
  }[event.key];
  if (action) {
    event.preventDefault();
    byHand(action);
  } else if (event.key === " " && !target.closest("button, summary, a")) {
    event.preventDefault();
    play();
  } else if (event.key === "?") byId("keys").showModal();
  return undefined;
});

/* Settings */

function isDark() {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function nameTheme() {
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  byId("theme").title = `Switch to the ${isDark() ? "light" : "dark"} theme`;
}

function makeLegend() {
  const line = (name) => draw("svg", { class: "sample", viewBox: "0 0 34 14", "aria-hidden": "true" },
    draw("path", { class: `edge reads ${name}`, d: "M2 7H32" }));
  const circle = (name) => draw("svg", { class: "sample round", viewBox: "0 0 20 20", "aria-hidden": "true" },
    draw("g", { class: `neuron ${name}` }, draw("circle", { class: "body", cx: 10, cy: 10, r: 8 })));
  const item = (sample, text) => make("span", {}, sample, text);
  byId("legend").append(
    item(line(""), "weight above 0"), item(line("negative"), "below 0, dashed"),
    item(circle(""), "a, forward"), item(circle("of-delta"), "δ, backward"),
    item(circle("negative"), "negative, dashed"),
    item("", "Thicker, or a fuller colour: larger in its layer"));
}

for (let k = 2; k <= 8; k++) byId("digits").append(make("option", { value: k }, String(k)));
byId("digits").value = digits;
byId("digits").addEventListener("change", (event) => {
  digits = Number(event.target.value);
  show();
});
byId("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
document.querySelector(".about").addEventListener("toggle", letScroll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
byId("help").addEventListener("click", () => byId("keys").showModal());
byId("first").addEventListener("click", () => byHand(() => goTo(0)));
byId("previous").addEventListener("click", () => byHand(() => goTo(current - 1)));
byId("next").addEventListener("click", () => byHand(() => goTo(current + 1)));
byId("last").addEventListener("click", () => byHand(() => goTo(steps.length - 1)));
byId("play").addEventListener("click", () => play());
byId("show-plain").addEventListener("click", (event) => {
  const plain = byId("plain");
  plain.hidden = !plain.hidden;
  event.target.setAttribute("aria-expanded", String(!plain.hidden));
  event.target.textContent = plain.hidden ? "Show all steps" : "Hide all steps";
  letScroll();
});

function stepOfAddress() {
  let id = "";
  try {
    id = decodeURIComponent(location.hash.slice(1));
  } catch { /* not one that this page has written */ }
  return Math.max(0, steps.findIndex((step) => step.id === id));
}
if (!embedded) addEventListener("hashchange", () => byHand(() => goTo(stepOfAddress())));

document.documentElement.classList.add("scripted");
byId("plain").hidden = true;
nameTheme();
makeSteps();
makeLegend();
drawNetwork();
current = embedded ? 0 : stepOfAddress();
show();
new ResizeObserver(() => {
  const before = drawing.svg;
  drawNetwork();
  if (drawing.svg !== before) {
    updateNetwork();
    choose(chosen);
  }
  letScroll();
}).observe(byId("drawing"));
})();
