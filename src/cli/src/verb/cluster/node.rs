//! `vfioctl node`: the machines of a cluster.

use std::io::IsTerminal as _;

use vfioctl_api::{JoinTokenRequest, NodeName, NodeView};

use crate::Done;
use crate::cluster::{Host, Patience};
use crate::command_line::NodeVerb;
use crate::limits;
use crate::output::Answered as _;
use crate::print::moment;
use crate::record::{InvitationRecord, NodeLayout, NodesRecord};
use crate::session::Session;
use crate::verdict::Verdict;

/// What makes a terminal forget what stands on it (ECMA-48: cursor to the top left, erase below).
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// What is said of a cluster without nodes.
const NO_NODES: &str = "the cluster has no nodes; 'vfioctl node invite NODE' lets one join";

/// Answers `vfioctl node`.
pub(super) fn run(verb: NodeVerb, host: &Host, session: &mut Session<'_>) -> Done {
    let output = &mut session.output;
    match verb {
        NodeVerb::List => {
            let nodes = host.nodes()?;
            if nodes.is_empty() {
                output.progress(NO_NODES);
            }
            output.answer(&NodesRecord::many(nodes, NodeLayout::Room))?;
        }
        NodeVerb::Status(one) => {
            output.answer(&NodesRecord::one(host.node(&one.node)?, NodeLayout::Room))?;
        }
        NodeVerb::Health { node } => return health(node.as_ref(), host, session),
        NodeVerb::Watch(one) => return watch(&one.node, host, session),
        NodeVerb::Summary => {
            let summary = host.summary()?.into();
            output.answer(&NodesRecord::Summary { summary })?;
        }
        NodeVerb::Drain(one) => {
            output.answer(&NodesRecord::one(
                host.drain(&one.node)?,
                NodeLayout::Drained,
            ))?;
        }
        NodeVerb::Resume(one) => {
            output.answer(&NodesRecord::one(
                host.resume(&one.node)?,
                NodeLayout::Drained,
            ))?;
        }
        NodeVerb::Invite { node, valid } => {
            let request = JoinTokenRequest {
                node: node.node,
                valid_s: valid.map(|valid| valid.seconds()),
            };
            let token = host.invite(&request)?;
            let invitation = InvitationRecord::of(token, host.access().host.to_string());
            let until = moment(invitation.expires);
            output.progress(&format!(
                "run this on {}, once, until {until}; it is shown this once:",
                invitation.node
            ));
            output.answer(&NodesRecord::Invitation { invitation })?;
        }
        NodeVerb::Rm(one) => {
            host.remove_node(&one.node)?;
            let removed = one.node.into();
            output.answer(&NodesRecord::Removed { removed })?;
        }
    }
    Ok(Verdict::Yes)
}

fn nodes(node: Option<&NodeName>, host: &Host) -> Result<Vec<NodeView>, crate::failure::Failure> {
    Ok(match node {
        Some(node) => vec![host.node(node)?],
        None => host.nodes()?,
    })
}

/// Answers `node health`. What is not well makes it a no.
fn health(node: Option<&NodeName>, host: &Host, session: &mut Session<'_>) -> Done {
    let nodes = nodes(node, host)?;
    if nodes.is_empty() {
        session.output.progress(NO_NODES);
    }
    let record = NodesRecord::many(nodes, NodeLayout::Health);
    session.output.answer(&record)?;
    let is_well = match &record {
        NodesRecord::Many { nodes, .. } => nodes.iter().all(|node| node.problems().is_empty()),
        _ => true,
    };
    Ok(if is_well { Verdict::Yes } else { Verdict::No })
}

/// Answers `node watch`: on a terminal always in the same place, elsewhere where something has
/// changed.
fn watch(node: &NodeName, host: &Host, session: &mut Session<'_>) -> Done {
    let is_terminal = std::io::stdout().is_terminal() && !session.output.is_json();
    let mut patience = Patience::default();
    let mut told = String::new();
    loop {
        match host.node(node) {
            Ok(view) => {
                patience.restore();
                let record = NodesRecord::one(view, NodeLayout::Health);
                let text = record.text();
                let is_heard = if is_terminal {
                    session.output.write(format!("{CLEAR}{text}").as_bytes())?
                } else if text != told {
                    session.output.answer_one_of_many(&record)?
                } else {
                    true
                };
                if !is_heard {
                    return Ok(Verdict::Yes);
                }
                told = text;
                std::thread::sleep(limits::NODE_INTERVAL);
            }
            Err(error) => patience.bear(error, &mut session.output)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster_sample::gpu_node_json;
    use crate::fake_host::{Reply, ok, problem, run};

    #[test]
    fn health_is_a_no_where_a_node_is_away_or_has_a_problem() {
        let mut well = gpu_node_json();
        well["report"]["problems"] = json!([]);
        let mut away = well.clone();
        away["state"] = "offline".into();
        for (nodes, verdict) in [
            (json!([well]), Verdict::Yes),
            (json!([well, gpu_node_json()]), Verdict::No),
            (json!([away]), Verdict::No),
            (json!([]), Verdict::Yes),
        ] {
            let outcome = run(&["node", "health"], vec![ok(nodes)]);
            assert_eq!(
                (outcome.verdict, outcome.questions()),
                (verdict, vec!["GET /v1/nodes"])
            );
        }
        let outcome = run(&["node", "health", "gpu-1"], vec![ok(gpu_node_json())]);
        assert_eq!(outcome.questions(), ["GET /v1/nodes/gpu-1"]);
    }

    #[test]
    fn each_verb_asks_for_its_own() {
        let join =
            json!({"node": "gpu-9", "token": "vfioctl_a_b.cd", "expires": 1_795_354_865_000_u64});
        let cases: [(&[&str], Reply, &str); 6] = [
            (
                &["node", "status", "gpu-1"],
                ok(gpu_node_json()),
                "GET /v1/nodes/gpu-1",
            ),
            (
                &["node", "show", "gpu-1"],
                ok(gpu_node_json()),
                "GET /v1/nodes/gpu-1",
            ),
            (
                &["node", "drain", "gpu-1"],
                ok(gpu_node_json()),
                "POST /v1/nodes/gpu-1/drain",
            ),
            (
                &["node", "resume", "gpu-1"],
                ok(gpu_node_json()),
                "POST /v1/nodes/gpu-1/resume",
            ),
            (
                &["node", "rm", "gpu-1"],
                Reply::Json(204, json!(null)),
                "DELETE /v1/nodes/gpu-1",
            ),
            (
                &["node", "invite", "gpu-9", "--valid", "2h"],
                ok(join),
                "POST /v1/joins",
            ),
        ];
        for (words, reply, question) in cases {
            let outcome = run(words, vec![reply]);
            assert_eq!(
                (outcome.verdict, outcome.questions()),
                (Verdict::Yes, vec![question]),
                "{words:?}"
            );
            assert_eq!(outcome.asked[0].token.as_deref(), Some("vfioctl_0a_secret"));
        }
        let refused = run(&["node", "rm", "gpu-1"], vec![problem(409, "wrong_state")]);
        assert_eq!(refused.verdict, Verdict::No);
    }

    #[test]
    fn an_invitation_is_a_line_to_run() {
        let join =
            json!({"node": "gpu-9", "token": "vfioctl_a_b.cd", "expires": 1_795_354_865_000_u64});
        let outcome = run(
            &["node", "invite", "gpu-9", "--valid", "2h"],
            vec![ok(join)],
        );
        let (first, host) = outcome.answer.split_once(" https://localhost:").unwrap();
        assert_eq!(first, "echo vfioctl_a_b.cd | sudo vfioctl-runner join");
        assert!(host.trim_end().parse::<u16>().is_ok(), "{host}");
        assert_eq!(
            outcome.asked[0].body,
            json!({"node": "gpu-9", "valid_s": 7200})
        );
        assert_eq!(
            outcome.conversation,
            "run this on gpu-9, once, until 2026-11-22 13:41:05 UTC; it is shown this once:\n"
        );
    }

    #[test]
    fn watching_a_node_goes_on_over_a_restart_until_it_is_gone() {
        let mut changed = gpu_node_json();
        changed["telemetry"]["processor_percent"] = 99.into();
        let replies = vec![
            ok(gpu_node_json()),
            Reply::Hangs,
            ok(gpu_node_json()),
            ok(changed),
            problem(404, "not_found"),
            ok(json!({"version": env!("CARGO_PKG_VERSION"), "api": "v1"})),
        ];
        let outcome = run(&["node", "watch", "gpu-1", "--json"], replies);
        assert_eq!(outcome.verdict, Verdict::CouldNot);
        let lines: Vec<&str> = outcome.answer.lines().collect();
        assert!(
            lines[0].starts_with(r#"{"schema":1,"node":{"name":"gpu-1""#),
            "{}",
            lines[0]
        );
        assert!(lines[1].contains(r#""processor_percent":99"#));
        assert_eq!(
            outcome.conversation.matches("no answer just now").count(),
            1
        );
    }
}
