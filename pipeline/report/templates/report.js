// Without this script the page shows everything; with it, tables sort, long ones fold and cards can be searched.
"use strict";
for (const table of document.querySelectorAll("table[data-sort]")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (head.dataset.kind === undefined) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const text = head.dataset.kind === "text";
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = up ? [value(a), value(b)] : [value(b), value(a)];
        if (text) return x.localeCompare(y, undefined, { numeric: true });
        // Rows without a value come last in both directions.
        const [m, n] = [parseFloat(x), parseFloat(y)];
        if (Number.isNaN(m) || Number.isNaN(n)) return Number.isNaN(parseFloat(value(a))) - Number.isNaN(parseFloat(value(b)));
        return m - n;
      });
      table.tBodies[0].append(...rows);
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      table.dispatchEvent(new Event("refresh"));
    });
  });
}
function refresh(table) {
  const limit = table.dataset.open ? Infinity : Number(table.dataset.limit || Infinity);
  const words = (table.dataset.words || "").toLowerCase();
  const only = table.dataset.only === "1";
  let shown = 0, found = 0;
  for (const row of table.tBodies[0].rows) {
    const fits = row.textContent.toLowerCase().includes(words) && (!only || row.classList.contains("alert"));
    found += fits;
    row.classList.toggle("hidden", !fits || shown >= limit);
    shown += fits && shown < limit;
  }
  const more = document.querySelector(`button.more[data-for="${table.id}"]`);
  if (more) {
    more.textContent = `Show all ${found}`;
    more.classList.toggle("hidden", shown >= found);
  }
}
for (const table of document.querySelectorAll("table[data-limit]")) {
  const more = document.querySelector(`button.more[data-for="${table.id}"]`);
  more.addEventListener("click", () => { table.dataset.open = "1"; refresh(table); });
  table.addEventListener("refresh", () => refresh(table));
  refresh(table);
}
for (const input of document.querySelectorAll("[data-filter]")) {
  input.closest(".tools").classList.remove("hidden");
  input.addEventListener("input", () => {
    const target = document.getElementById(input.dataset.filter);
    if (target.tagName === "TABLE") {
      if (input.type === "checkbox") target.dataset.only = input.checked ? "1" : ""; else target.dataset.words = input.value;
      refresh(target);
      return;
    }
    for (const card of target.children) card.classList.toggle("hidden", !card.dataset.name.toLowerCase().includes(input.value.toLowerCase()));
  });
}
