import { test } from "node:test";
import { run } from "./model.js";

for (let seed = 1; seed <= 40; seed += 1) test(`seed ${seed}: the client's copy ends up as the server's truth`, () => run(seed));
