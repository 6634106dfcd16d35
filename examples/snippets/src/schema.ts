import { schemaSql } from '@solorun/postgres';

console.log(schemaSql({ schema: 'locks' }));
