//! The real clients, each in its own language, against a gateway in this process.

use std::process::Command;

use crate::scenes::Scene;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/clients");

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the clients of Python and Node: run tests/conformance/clients/install.sh, then with --include-ignored"]
async fn the_real_clients_get_the_vectors_that_the_upstream_gives() {
    let scene = Scene::usual().await;
    let gateway = format!("http://{}", scene.gateway.address);
    let upstream = scene.upstream_url();
    let run =
        move || Command::new(format!("{FOLDER}/run.sh")).args([&gateway, "test-embed", &upstream]).output();
    let output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    let (said, complaints) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complaints}");
    assert!(said.lines().filter(|line| line.starts_with("OK")).count() >= 20, "{said}");
    scene.gateway.stop().await;
}
