//! The commands that help to write a policy file: its schema, what check says to programs, and import.

use serde_json::Value;

use crate::gateway::Home;
use crate::routes::Routes;

const CONFIG: &str = "model_list:
  - model_name: opus
    litellm_params: { model: anthropic/claude-opus-4-7, api_key: sk-secret }
router_settings:
  redis_host: redis.corp.example
";

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn check_tells_programs_what_it_tells_people() {
    let home = Home::new(&Routes::demo());
    let output = home.run(&["check", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["valid"], true);
    assert_eq!(said["digest"].as_str().map(str::len), Some(64));
    assert_eq!((&said["errors"], &said["warnings"]), (&0.into(), &1.into()), "{said}");
    let finding = &said["findings"][0];
    assert_eq!(finding["file"], "routes.yaml");
    assert_eq!(finding["severity"], "warning");
    assert!(finding["message"].as_str().unwrap().contains("has a test"), "{finding}");
    assert!(
        finding["hint"].is_string() && finding["line"].is_u64() && finding["column"].is_u64(),
        "{finding}"
    );
    assert_eq!(said["workflows"][0]["models"][0], "demo");

    home.write("bad.yaml", "version: 2\n");
    let output = home.run(&["check", "bad.yaml", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&said["valid"], &said["digest"]), (&false.into(), &Value::Null));
    assert!(said["errors"].as_u64() > Some(1), "{said}");
}

#[test]
fn strict_makes_warnings_fail() {
    let home = Home::new(&Routes::demo());
    assert_eq!(home.run(&["check"]).status.code(), Some(0));
    let output = home.run(&["check", "--strict"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("warning: no workflow has a test"), "{output:?}");
}

#[test]
fn the_schema_is_printed() {
    let home = Home::new(&Routes::demo());
    let output = home.run(&["schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let part = home.run(&["schema", "--of", "part"]);
    let part: Value = serde_json::from_slice(&part.stdout).unwrap();
    assert_eq!(part["required"], serde_json::json!(["version", "workflows"]));
    assert_eq!(home.run(&["schema", "--of", "nothing"]).status.code(), Some(2));
}

#[test]
fn an_imported_configuration_is_a_policy_file_with_notes() {
    let home = Home::new(&Routes::demo());
    home.write("config.yaml", CONFIG);
    let output = home.run(&["import", "litellm", "config.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let (draft, notes) = (text(&output.stdout), text(&output.stderr));
    assert!(draft.contains("name: \"claude-opus-4-7\"") && !draft.contains("sk-secret"), "{draft}");
    assert!(notes.contains("config.yaml:5:3: warning: ") && !notes.contains("sk-secret"), "{notes}");

    let output = home.run(&["import", "litellm", "config.yaml", "--out", "new.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(home.run(&["check", "new.yaml"]).status.code(), Some(0));
    // What somebody has written since is not lost.
    let again = home.run(&["import", "litellm", "config.yaml", "--out", "new.yaml"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("new.yaml"), "{again:?}");

    let output = home.run(&["import", "litellm", "routes.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no `model_list`"), "{output:?}");
}
