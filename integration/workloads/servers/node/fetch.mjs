// fetch of Node; says what it did (see ../go/client/main.go). fetch.mjs PORT PREFIX COUNT
const [port, prefix, count] = process.argv.slice(2);
const KINDS = [["GET", "r", 0], ["POST", "r", 3000], ["PUT", "put", 40000], ["GET", "gone", 0], ["HEAD", "r", 0]];

for (let number = 0; number < Number(count); number++) {
  const [method, folder, bytes] = KINDS[number % KINDS.length];
  const path = `/${folder}/${prefix}-${number}`;
  const body = bytes > 0 ? "b".repeat(bytes) : undefined;
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, body });
  const received = (await response.arrayBuffer()).byteLength;
  console.log(path, method, response.status, bytes, received);
}
