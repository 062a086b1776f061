/**
 * The first module: begins the page where the browser has what it needs, and says so where it has not, in words that stand
 * here because nothing else may be loaded then. Stated in docs/operating.md: Chrome and Edge 123, Firefox 125, Safari 17.5.
 */
const NEEDED = {
  "URL.canParse": () => URL.canParse("https://example.org"),
  "Intl.Segmenter": () => new Intl.Segmenter(),
  "Array.findLast": () => [1].findLast((one) => one === 1) === 1,
  "light-dark()": () => CSS.supports("color", "light-dark(#000, #fff)"),
  dialog: () => typeof HTMLDialogElement.prototype.showModal === "function",
  structuredClone: () => structuredClone({}) !== undefined,
};

const missing = Object.keys(NEEDED).filter((name) => {
  try {
    return !NEEDED[name]();
  } catch {
    return true;
  }
});

if (missing.length === 0) import("./main.js");
else {
  const line = document.createElement("p");
  line.className = "noscript";
  line.setAttribute("role", "alert");
  line.textContent = `This browser is too old for this chat. · 浏览器版本过低，请更新后再使用。 (${missing.join(", ")})`;
  document.getElementById("app").replaceChildren(line);
}
