// The page of a study: sorts and filters the table of trials, and brushes the parallel coordinates.
// The page holds everything already; this script only adds controls, and hides rows and lines.
(() => {
  "use strict";
  const table = document.getElementById("trials-table");
  const picture = document.querySelector("#parallel svg");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const lines = new Map([...picture.querySelectorAll(".t")].map((line) => [line.dataset.t, line]));
  const value = (row, i) => row.cells[i].dataset.v ?? row.cells[i].textContent;

  // ---- sorting
  const languages = new Intl.Collator(undefined, { numeric: true });
  const sort = (i, falling) => {
    const numeric = heads[i].dataset.kind === "number";
    const keys = new Map(rows.map((row) => [row, value(row, i)]));
    const order = (a, b) => {
      const [one, other] = [keys.get(a), keys.get(b)];
      if (one === "" || other === "") return (one === "") - (other === ""); // what is empty comes last
      const found = numeric ? Number(one) - Number(other) : languages.compare(one, other);
      return falling ? -found : found;
    };
    body.append(...[...rows].sort(order));
    heads.forEach((head, n) => {
      if (n === i) head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  };
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(i, head.getAttribute("aria-sort") === "ascending"));
    head.append(button);
  });

  // ---- filtering
  const within = /^\s*(-?[\d.]+(?:e[+-]?\d+)?)\s*\.\.\s*(-?[\d.]+(?:e[+-]?\d+)?)\s*$/i;
  const compared = /^\s*(<=|>=|<|>|=)\s*(-?[\d.]+(?:e[+-]?\d+)?)\s*$/i;
  const tests = { "<=": (a, b) => a <= b, ">=": (a, b) => a >= b, "<": (a, b) => a < b,
    ">": (a, b) => a > b, "=": (a, b) => a === b };
  // Returns a test of a row for what was written, or null for what is not understood.
  const test = (text, i) => {
    const number = (row) => (value(row, i) === "" ? NaN : Number(value(row, i)));
    const range = within.exec(text), comparison = compared.exec(text);
    if (heads[i].dataset.kind === "number" && range)
      return (row) => number(row) >= Number(range[1]) && number(row) <= Number(range[2]);
    if (heads[i].dataset.kind === "number" && comparison)
      return (row) => tests[comparison[1]](number(row), Number(comparison[2]));
    if (heads[i].dataset.kind === "number" && /[<>=]|\.\./.test(text)) return null;
    return (row) => row.cells[i].textContent.toLowerCase().includes(text.trim().toLowerCase());
  };
  const filters = new Map(); // of columns: tests of a row
  const brushes = new Map(); // of axes: tests of a line
  const status = document.getElementById("shown");
  const show = () => {
    let count = 0;
    for (const row of rows) {
      const line = lines.get(row.dataset.t);
      const seen = [...filters.values()].every((f) => f(row)) &&
        [...brushes.values()].every((b) => b(line));
      row.hidden = !seen;
      line.classList.toggle("off", !seen);
      count += seen;
    }
    status.textContent = count === rows.length ? `All ${count} trials are shown.`
      : `${count} of ${rows.length} trials are shown.`;
  };
  const second = table.tHead.insertRow();
  heads.forEach((head, i) => {
    const cell = document.createElement("td");
    const name = `filter ${head.textContent}`;
    let control;
    if (head.dataset.choices) {
      control = document.createElement("select");
      control.append(new Option("", ""));
      for (const choice of JSON.parse(head.dataset.choices)) control.append(new Option(choice, choice));
      control.addEventListener("change", () => {
        const wanted = control.value;
        if (control.selectedIndex === 0) filters.delete(i);
        else filters.set(i, (row) => row.cells[i].textContent === wanted);
        show();
      });
    } else {
      control = document.createElement("input");
      control.type = "search";
      control.addEventListener("input", () => {
        const made = control.value.trim() === "" ? undefined : test(control.value, i);
        control.setAttribute("aria-invalid", String(made === null));
        if (made) filters.set(i, made);
        else filters.delete(i);
        show();
      });
    }
    control.setAttribute("aria-label", name);
    cell.append(control);
    second.append(cell);
  });

  // ---- brushing
  const heights = new Map(); // of lines: their height at each axis
  for (const line of lines.values())
    heights.set(line, line.getAttribute("d").match(/-?[\d.]+/g).filter((_, n) => n % 2).map(Number));
  const at = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY);
    return point.matrixTransform(picture.getScreenCTM().inverse()).y;
  };
  for (const hit of picture.querySelectorAll(".hit")) {
    const axis = Number(hit.dataset.axis);
    const brush = hit.cloneNode();
    brush.setAttribute("class", "brush");
    const ends = [Number(hit.getAttribute("y")), Number(hit.getAttribute("y")) + Number(hit.getAttribute("height"))];
    let from = null;
    const drag = (event) => {
      const to = Math.min(Math.max(at(event), ends[0]), ends[1]);
      const [low, high] = [Math.min(from, to), Math.max(from, to)];
      if (high - low < 4) { // a click
        brushes.delete(axis);
        brush.remove();
      } else {
        brush.setAttribute("y", low);
        brush.setAttribute("height", high - low);
        hit.before(brush);
        brushes.set(axis, (line) => heights.get(line)[axis] >= low && heights.get(line)[axis] <= high);
      }
      show();
    };
    hit.addEventListener("pointerdown", (event) => {
      from = Math.min(Math.max(at(event), ends[0]), ends[1]);
      hit.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    hit.addEventListener("pointermove", (event) => { if (from !== null) drag(event); });
    for (const end of ["pointerup", "pointercancel"])
      hit.addEventListener(end, (event) => {
        if (from === null) return;
        drag(event);
        from = null;
      });
  }
  document.getElementById("reset").addEventListener("click", () => {
    filters.clear();
    brushes.clear();
    picture.querySelectorAll(".brush").forEach((brush) => brush.remove());
    second.querySelectorAll("input, select").forEach((control) => {
      control.value = "";
      control.removeAttribute("aria-invalid");
    });
    show();
  });

  // ---- the line of the row under the mouse
  let marked = null;
  const mark = (row) => {
    if (marked) lines.get(marked.dataset.t).classList.remove("on");
    marked = row;
    if (marked) lines.get(marked.dataset.t).classList.add("on");
  };
  body.addEventListener("pointerover", (event) => mark(event.target.closest("tr")));
  body.addEventListener("pointerleave", () => mark(null));

  for (const each of document.querySelectorAll(".live-only")) each.hidden = false;
  document.documentElement.classList.add("live");
  show();
})();
