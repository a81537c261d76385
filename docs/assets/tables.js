// A table that is wider than the screen becomes a list: each row a block, each cell a line that
// begins with its column's heading.
function fitTables() {
  for (const table of document.querySelectorAll(".md-content .md-typeset table:not([class])")) {
    const heads = [...table.querySelectorAll("thead th")].map(head => head.textContent.trim())
    for (const row of table.querySelectorAll("tbody tr"))
      [...row.cells].forEach((cell, column) => (cell.dataset.head = heads[column]))
    const around = table.closest(".md-typeset__scrollwrap") ?? table.parentElement
    if (around.scrollWidth > around.clientWidth + 1) table.dataset.stacked = ""
  }
}

addEventListener("load", fitTables)
addEventListener("resize", () => {
  for (const table of document.querySelectorAll("table[data-stacked]")) delete table.dataset.stacked
  fitTables()
})
