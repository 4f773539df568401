//! scratch
use ottla_broker::*;
#[tokio::main]
async fn main() {
    let mut v = std::collections::BTreeMap::new();
    v.insert("listeners".to_string(), "PLAINTEXT://127.0.0.1:0".to_string());
    v.insert("ottla.http.listener".to_string(), "127.0.0.1:0".to_string());
    let disk = std::env::args().nth(1);
    if let Some(d) = &disk {
        v.insert("log.dirs".into(), d.clone());
    }
    let t = std::time::Instant::now();
    let b = Broker::start(BrokerOptions {
        config: ottla_config::ConfigLayers::from_static(v),
        storage: if disk.is_some() { Storage::Disk } else { Storage::Memory },
        seed: None,
        clock: None,
    })
    .await
    .unwrap();
    eprintln!("{:?}", t.elapsed());
    println!("{} {:?}", b.bootstrap(), b.http_address());
    tokio::signal::ctrl_c().await.unwrap();
    b.shutdown().await;
}
