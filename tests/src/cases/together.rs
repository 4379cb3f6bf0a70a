//! Several callers at once.

use super::{AUDIO, Case, GPU, both};
use crate::world::{Answer, User, World, assert_same};

pub(super) const CASES: &[Case] = &[both(
    "of_two_callers_one_wins_and_the_other_is_told_who",
    race,
)];

const ROUNDS: usize = 3;

fn race(world: &dyn World) {
    let before = world.picture();
    for _ in 0..ROUNDS {
        let (alice, bob) = std::thread::scope(|scope| {
            let alice = scope.spawn(|| world.vfioctl(User::Alice, &["bind", GPU]));
            let bob = scope.spawn(|| world.vfioctl(User::Bob, &["bind", AUDIO]));
            (alice.join().unwrap(), bob.join().unwrap())
        });
        let (winner, loser) = match alice.status {
            0 => (User::Alice, bob),
            _ => (User::Bob, alice.clone()),
        };
        assert_told(&loser, winner);
        let node = world.node(&world.group(GPU));
        assert_eq!(node, Some(format!("{} 600", winner.uid())));
        world.vfioctl(winner, &["release", GPU]).done();
        assert_same(&world.picture(), &before, "afterwards");
    }
}

/// Told who has it, or who is about to: by name.
fn assert_told(loser: &Answer, winner: User) {
    let name = loser.json["error"]["name"].as_str().unwrap_or_default();
    let status = match name {
        "Claimed" => 1,
        "Busy" => 2,
        _ => panic!("{loser}"),
    };
    assert_eq!(loser.status, status, "{loser}");
    let owner = format!("user '{}'", winner.name());
    assert!(loser.message().contains(&owner), "{loser}");
}
