// @ts-check
/** What node-cron runs in a process of its own. */
export async function task() {
  console.log('one replica only');
}
