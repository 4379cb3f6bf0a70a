//! The verbs that ask a cluster, one file for each thing that they are about.

mod gpu;
mod login;
mod node;
mod people;
mod progress;
mod secret;
mod ssh;
mod ssh_keys;
mod submission;
mod task;
mod task_log;
mod vps;

use crate::Done;
use crate::command_line::{ClusterVerb, Late};
use crate::session::Session;

/// Answers a verb that asks a cluster.
pub(super) fn run(verb: ClusterVerb, session: &mut Session<'_>) -> Done {
    match verb {
        ClusterVerb::Task(Late(asked)) => {
            task::run(asked.verb, &session.host(asked.cluster)?, session)
        }
        ClusterVerb::Vps(Late(asked)) => {
            vps::run(asked.verb, &session.host(asked.cluster)?, session)
        }
        ClusterVerb::Node(Late(asked)) => {
            node::run(asked.verb, &session.host(asked.cluster)?, session)
        }
        ClusterVerb::Gpu(Late(asked)) => {
            gpu::run(&asked.verb, &session.host(asked.cluster)?, session)
        }
        ClusterVerb::User(Late(asked)) => {
            people::user(asked.verb, &session.host(asked.cluster)?, session)
        }
        ClusterVerb::Token(Late(asked)) => {
            people::token(&asked.verb, &session.host(asked.cluster)?, session)
        }
        ClusterVerb::Audit(Late(audit)) => {
            people::audit(audit.limit, &session.host(audit.cluster)?, session)
        }
        ClusterVerb::Login(Late(arguments)) => login::login(&arguments, session),
        ClusterVerb::Logout(Late(arguments)) => login::logout(&arguments, session),
        ClusterVerb::Whoami(Late(cluster)) => login::whoami(&session.host(cluster)?, session),
    }
}
