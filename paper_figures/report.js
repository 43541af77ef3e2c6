// Sorting by a click on a column's head. Without this script the tables are complete, in the order of the page.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => {
    const cell = row.cells[column], text = cell.textContent.trim(), number = parseFloat(text);
    return Number.isNaN(number) ? text : number;
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      // Numbers start with the highest, names with the first.
      const numeric = head.classList.contains("number"), now = head.getAttribute("aria-sort");
      const falling = now ? now === "ascending" : numeric;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => [row, key(row, column)]);
      const empty = (value) => value === "" || value === "–";
      // Cells without a value stay at the end.
      rows.sort(([, a], [, b]) => empty(a) - empty(b) || (empty(a) ? 0 : falling ? compare(b, a) : compare(a, b)));
      body.append(...rows.map(([row]) => row));
    });
  });
}
