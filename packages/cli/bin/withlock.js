#!/usr/bin/env node
import { end } from '../dist/end.js';
import { withlock } from '../dist/withlock.js';

await end(withlock);
