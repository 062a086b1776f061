/** Which day it is, and where: what is drawn by it is drawn again after midnight and after a journey. */
import { signal } from "../vendor/preact.js";

const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;
const now = () => `${new Date().toDateString()} ${zone()} ${new Date().getTimezoneOffset()}`;

export const day = signal(now());

export function look() {
  day.value = now(); // a signal tells of changes alone
}

setInterval(look, 20_000);
document.addEventListener("visibilitychange", look);
addEventListener("focus", look);
