/** Days as numbers, in the time zone of this device at the moment. */
const LENGTH = 86_400_000;

export function dayOf(time) {
  const date = new Date(time);
  return Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / LENGTH;
}
