/**
 * The one guard against input methods: while one chooses characters, Enter, Escape and the arrows are the method's. No
 * handler of the page hears of such a key, whatever field it is in, so that none has to remember to ask.
 */
export function guardComposition(target = globalThis) {
  const guard = (event) => {
    if (event.isComposing || event.keyCode === 229) event.stopImmediatePropagation();
  };
  for (const kind of ["keydown", "keyup", "keypress"]) target.addEventListener(kind, guard, true);
  return () => {
    for (const kind of ["keydown", "keyup", "keypress"]) target.removeEventListener(kind, guard, true);
  };
}
