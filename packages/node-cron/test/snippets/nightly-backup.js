export async function task() {}
