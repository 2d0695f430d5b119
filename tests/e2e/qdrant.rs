//! Qdrant as the store: what is indexed is found, followed and deleted there.

use embergate_test_support::qdrant::QdrantSim;

use super::{desk, write_corpus};

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_indexed_found_followed_and_deleted() {
    let sim = QdrantSim::spawn().await.unwrap();
    let desk = desk();
    write_corpus(&desk);
    desk.write("embergate.toml", format!("[store]\nkind = \"qdrant\"\nurl = \"{}\"\n", sim.url()));
    let index = ["index", "docs", "--collection", "docs", "--language", "en"];
    assert_eq!(desk.json(&index).last().unwrap()["indexed"], 3);
    let best =
        || desk.json(&["search", "what does mooring cost", "--collection", "docs"])[0]["results"][0].clone();
    assert!(best()["source"].as_str().unwrap().ends_with("harbour.md"), "{}", best());
    assert_eq!(best()["headings"][1], "Fees");
    assert_eq!(desk.json(&index).last().unwrap()["unchanged"], 3);
    desk.remove("docs/harbour.md");
    assert_eq!(desk.json(&index).last().unwrap()["removed"], 1);
    assert!(!best()["source"].as_str().unwrap().ends_with("harbour.md"), "{}", best());
    let listed = desk.json(&["collections", "list"]);
    assert_eq!(
        (&listed[0]["collections"][0]["name"], &listed[0]["collections"][0]["chunks"]),
        (&"docs".into(), &2.into())
    );
    desk.json(&["collections", "delete", "docs"]);
    assert_eq!(desk.json(&["collections", "list"])[0]["collections"], serde_json::json!([]));
    assert_eq!(desk.json(&index).last().unwrap()["indexed"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_reached_over_tls_with_a_key() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let sim = QdrantSim::spawn_secure(&made.cert.pem(), &made.signing_key.serialize_pem()).await.unwrap();
    sim.require_key("s3cret");
    let desk = desk();
    write_corpus(&desk);
    desk.write("key", "s3cret\n");
    let store = format!("[store]\nkind = \"qdrant\"\nurl = \"{}\"\napi_key_file = \"key\"\n", sim.url());
    desk.write("embergate.toml", store);
    let certificate = desk.write("ca.pem", made.cert.pem());
    let index = ["index", "docs", "--collection", "docs"];
    let said = |trusted: &std::path::Path| {
        let output = desk.command(&index).env("SSL_CERT_FILE", trusted).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(said(&certificate), (Some(0), String::new()));
    assert_eq!(sim.writes().len(), 1);
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (code, error) = said(&desk.write("other.pem", other.cert.pem()));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("cannot reach Qdrant"), "{error}");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let desk = desk();
    write_corpus(&desk);
    let address = embergate_test_support::binary::closed_port();
    desk.write("embergate.toml", format!("[store]\nkind = \"qdrant\"\nurl = \"http://{address}\"\n"));
    let said = desk.run(&["index", "docs", "--collection", "docs"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("Qdrant") && said.stderr.contains(&address), "{}", said.stderr);
}
