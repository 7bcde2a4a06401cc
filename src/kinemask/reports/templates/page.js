"use strict";
// Line charts: the value under the pointer. Scatter plots: pick classes out by their legend.
(() => {
  for (const chart of document.querySelectorAll("svg.chart")) {
    const points = chart.dataset.points.split(" ").map((p) => p.split(","));
    const label = chart.closest("figure").querySelector(".value");
    const usual = label.textContent;
    const dot = chart.querySelector(".end").cloneNode();
    dot.setAttribute("class", "dot");
    dot.style.display = "none";
    chart.append(dot);
    chart.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * chart.viewBox.baseVal.width;
      const near = points.reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a));
      dot.setAttribute("cx", near[0]);
      dot.setAttribute("cy", near[1]);
      dot.style.display = "";
      label.textContent = `${near[3]} at ${chart.dataset.unit} ${near[2]}`;
    });
    chart.addEventListener("pointerleave", () => {
      dot.style.display = "none";
      label.textContent = usual;
    });
  }

  for (const plot of document.querySelectorAll(".scatter")) {
    const buttons = [...plot.querySelectorAll("button")];
    const show = (hovered) => {
      const chosen = new Set(buttons.filter((b) => b.ariaPressed === "true").map((b) => b.dataset.class));
      if (hovered) chosen.add(hovered);
      plot.classList.toggle("picking", chosen.size > 0);
      for (const group of plot.querySelectorAll("g")) group.classList.toggle("picked", chosen.has(group.dataset.class));
    };
    for (const button of buttons) {
      button.addEventListener("click", () => {
        button.ariaPressed = button.ariaPressed === "true" ? "false" : "true";
        show();
      });
      button.addEventListener("pointerenter", () => show(button.dataset.class));
      button.addEventListener("pointerleave", () => show());
    }
  }
})();
