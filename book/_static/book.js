// What the theme leaves open to readers with a keyboard or a screen reader, and figures that open at full size.

document.addEventListener("DOMContentLoaded", () => {
  // A label that hides the words on a control: the words are its name.
  for (const control of document.querySelectorAll("details.hide > summary, .search-button-field")) {
    control.removeAttribute("aria-label");
  }
  // Its icons bring titles of their own, which the name has to hold.
  for (const control of document.querySelectorAll(".theme-switch-button")) {
    control.setAttribute("aria-label", "Color mode: light, dark, system settings");
  }
  // A list whose entries are no list items for a screen reader.
  for (const list of document.querySelectorAll(".citation-list")) list.removeAttribute("role");
  enlargeFigures();
});

// How wide a figure was drawn, by which a phone scales its type; what is wider than its frame is marked, to say so.
function markWhatMoves() {
  for (const image of document.querySelectorAll("button.enlarge img")) {
    image.style.setProperty("--drawn", `${image.naturalWidth}px`);
  }
  const frames = ".bd-article figure:has(button.enlarge), .bd-article .pst-scrollable-table-container";
  for (const frame of document.querySelectorAll(frames)) {
    frame.toggleAttribute("data-moves", frame.scrollWidth > frame.clientWidth + 1);
  }
}
for (const event of ["load", "resize"]) window.addEventListener(event, markWhatMoves);

function enlargeFigures() {
  const box = document.createElement("dialog");
  const close = document.createElement("button");
  close.textContent = "Close";
  box.className = "enlarged";
  box.setAttribute("aria-label", "Figure at full size");
  box.addEventListener("click", () => box.close());
  document.body.append(box);
  for (const image of document.querySelectorAll(".bd-article figure img, .bd-article .cell_output img")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "enlarge";
    button.title = "Enlarge";
    button.addEventListener("click", () => {
      box.replaceChildren(close, image.cloneNode());
      box.showModal();
    });
    image.replaceWith(button);
    button.append(image);
  }
}
