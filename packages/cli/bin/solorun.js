#!/usr/bin/env node
import { end } from '../dist/end.js';
import { solorun } from '../dist/main.js';

await end(solorun);
