<?php
// What every server here answers, and its own log of it (see ../python/truth.py).
$method = $_SERVER['REQUEST_METHOD'];
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$folder = explode('/', $path)[1];
$request = strlen(file_get_contents('php://input'));
$status = ['gone' => 404, 'error' => 500, 'put' => 201][$folder] ?? 200;
$is_streamed = $folder === 'chunked';
$parts = $is_streamed
    ? [str_repeat('a', 1000), str_repeat('b', 20000), 'c']
    : [str_repeat('x', $folder === 'big' ? 300000 : 7 * strlen($path))];
$sent = $method === 'HEAD' ? 0 : strlen(implode('', $parts));
file_put_contents($_SERVER['TRUTH_LOG'], "$path $method $status $request $sent\n", FILE_APPEND | LOCK_EX);
http_response_code($status);
if (!$is_streamed) {
    header('Content-Length: ' . strlen($parts[0]));
}
foreach ($parts as $part) {
    echo $part;
    if ($is_streamed) {
        flush();
    }
}
