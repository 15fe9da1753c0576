//! actix-web 4. actix-server PORT

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, http::StatusCode, web};
use futures_util::stream;
use ratatosk_test_servers::Answer;
use std::convert::Infallible;

async fn every(request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let answer = Answer::new(request.method().as_str(), request.path(), body.len());
    let mut response = HttpResponse::build(StatusCode::from_u16(answer.status).expect("a status"));
    if answer.is_streamed {
        response.streaming(stream::iter(answer.parts.into_iter().map(Ok::<_, Infallible>)))
    } else {
        response.body(answer.parts.concat())
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).expect("PORT");
    HttpServer::new(|| App::new().default_service(web::to(every)))
        .workers(2)
        .bind(("127.0.0.1", port))?
        .run()
        .await
}
