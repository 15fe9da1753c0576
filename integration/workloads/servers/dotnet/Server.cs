using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net;
using System.Text;
using System.Threading.Tasks;

/// HttpListener of .NET (see ../python/truth.py for what it answers and logs). server.dll PORT
static class Server {
    static readonly Dictionary<string, int> StatusOf = new Dictionary<string, int> { { "gone", 404 }, { "error", 500 }, { "put", 201 } };
    static readonly object Log = new object();

    static void Main(string[] words) {
        var listener = new HttpListener();
        foreach (var host in new[] { "127.0.0.1", "localhost" }) {
            listener.Prefixes.Add("http://" + host + ":" + words[0] + "/");
        }
        listener.Start();
        while (true) {
            var context = listener.GetContext();
            Task.Run(() => Every(context.Request, context.Response));
        }
    }

    static void Every(HttpListenerRequest request, HttpListenerResponse response) {
        var path = request.Url.AbsolutePath;
        var folder = path.Split('/')[1];
        var body = new MemoryStream();
        request.InputStream.CopyTo(body);
        var parts = Parts(folder, path);
        var length = parts.Sum(part => part.Length);
        response.StatusCode = StatusOf.ContainsKey(folder) ? StatusOf[folder] : 200;
        var sent = request.HttpMethod == "HEAD" ? 0 : length;
        var line = string.Format("{0} {1} {2} {3} {4}\n", path, request.HttpMethod, response.StatusCode, body.Length, sent);
        lock (Log) {
            File.AppendAllText(Environment.GetEnvironmentVariable("TRUTH_LOG"), line);
        }
        if (folder == "chunked") {
            response.SendChunked = true;
        } else {
            response.ContentLength64 = length;
        }
        if (sent > 0) {
            parts.ForEach(part => response.OutputStream.Write(part, 0, part.Length));
        }
        response.Close();
    }

    static List<byte[]> Parts(string folder, string path) {
        if (folder == "chunked") {
            return new List<byte[]> { Letters('a', 1000), Letters('b', 20000), Letters('c', 1) };
        }
        return new List<byte[]> { Letters('x', folder == "big" ? 300000 : 7 * path.Length) };
    }

    static byte[] Letters(char letter, int count) {
        return Encoding.ASCII.GetBytes(new string(letter, count));
    }
}
