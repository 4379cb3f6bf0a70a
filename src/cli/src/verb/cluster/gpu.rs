//! `vfioctl gpu`: the GPUs of a cluster.

use crate::Done;
use crate::cluster::Host;
use crate::command_line::GpuVerb;
use crate::record::{GpusRecord, NodeRecord};
use crate::session::Session;
use crate::verdict::Verdict;

/// Answers `vfioctl gpu`. Nodes are asked for, since a GPU does not say whether its node is there.
pub(super) fn run(verb: &GpuVerb, host: &Host, session: &mut Session<'_>) -> Done {
    let GpuVerb::List { node } = verb;
    let nodes = match node {
        Some(node) => vec![host.node(node)?],
        None => host.nodes()?,
    };
    let nodes = nodes.into_iter().map(NodeRecord::from);
    let record = GpusRecord {
        gpus: nodes.flat_map(|node| node.gpus).collect(),
    };
    if record.gpus.is_empty() {
        session.output.progress("there are no GPUs");
    }
    session.output.answer(&record)?;
    Ok(Verdict::Yes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cluster_sample::gpu_node_json;
    use crate::fake_host::{ok, run};

    #[test]
    fn gpus_of_one_node_or_of_all_are_listed() {
        let outcome = run(
            &["gpu", "list", "--node", "gpu-1", "--json"],
            vec![ok(gpu_node_json())],
        );
        assert_eq!(outcome.questions(), ["GET /v1/nodes/gpu-1"]);
        assert_eq!(outcome.json()["gpus"][2]["state"]["kind"], "machine");
        let outcome = run(&["gpu", "list"], vec![ok(json!([]))]);
        assert_eq!(
            (outcome.answer.as_str(), outcome.conversation.as_str()),
            ("", "there are no GPUs\n")
        );
    }
}
