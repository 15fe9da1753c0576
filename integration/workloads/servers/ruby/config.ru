# What every server here answers, and its own log of it (see ../python/truth.py).
STATUS = { 'gone' => 404, 'error' => 500, 'put' => 201 }.freeze
PARTS = ['a' * 1000, 'b' * 20_000, 'c'].freeze

run lambda { |env|
  method, path = env.values_at('REQUEST_METHOD', 'PATH_INFO')
  folder = path.split('/')[1]
  request_bytes = env['rack.input'].read.bytesize
  status = STATUS.fetch(folder, 200)
  parts = folder == 'chunked' ? PARTS : ['x' * (folder == 'big' ? 300_000 : 7 * path.length)]
  sent = method == 'HEAD' ? 0 : parts.sum(&:bytesize)
  File.open(ENV.fetch('TRUTH_LOG'), 'a') { |log| log.syswrite("#{path} #{method} #{status} #{request_bytes} #{sent}\n") }
  headers = folder == 'chunked' ? {} : { 'Content-Length' => parts.sum(&:bytesize).to_s }
  [status, headers, method == 'HEAD' ? [] : parts]
}
