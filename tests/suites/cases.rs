//! Every case, on the fake kernel and in the lab.

fn main() {
    vfioctl_tests::fake::run_helper_if_asked();
    vfioctl_tests::suite::run(vfioctl_tests::cases::trials());
}
