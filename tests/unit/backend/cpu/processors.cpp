// Processors are counted by affinity and by the quotas of control groups, here from made-up files.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <locale>
#include <sched.h>
#include <string>
#include <sys/resource.h>
#include <utility>

#include <strata/backend/cpu/processors.hpp>
#include <strata/cpu.hpp>

#include "support/catch.hpp"
#include "support/child.hpp"
#include "support/messages.hpp"
#include "support/other_locale.hpp"
#include "support/sanitizers.hpp"

namespace {

/// A folder with the files of a system.
class made_up_system {
 public:
  made_up_system() : root_(std::filesystem::temp_directory_path() / ("strata_processors_" + std::to_string(getpid()))) {
    std::filesystem::remove_all(root_);
  }
  ~made_up_system() { std::filesystem::remove_all(root_); }
  made_up_system(const made_up_system&) = delete;
  made_up_system& operator=(const made_up_system&) = delete;

  void write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  double quota() const { return strata::quota_of_processors(root_); }

 private:
  std::filesystem::path root_;
};

const char* const version_2 =
    "24 30 0:22 / /proc rw - proc proc rw\n"
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
const char* const version_1 =
    "30 23 0:26 / /sys/fs/cgroup/unified rw shared:4 master:1 - cgroup2 cgroup2 rw\n"
    "31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:5 - cgroup cgroup rw,cpu,cpuacct\n"
    "32 23 0:28 / /sys/fs/cgroup/cpuset rw,nosuid shared:6 - cgroup cgroup rw,cpuset\n";

}  // namespace

TEST_CASE("processors: no control groups, no quota") {
  const made_up_system system;
  CHECK(std::isinf(system.quota()));
  system.write("proc/self/cgroup", "0::/\n");
  CHECK(std::isinf(system.quota()));  // nothing is mounted
  system.write("proc/self/mountinfo", version_2);
  CHECK(std::isinf(system.quota()));  // the top has no such file
  system.write("sys/fs/cgroup/cpu.max", "max 100000\n");
  CHECK(std::isinf(system.quota()));
  for (const char* nonsense : {"", "many few\n", "100000\n", "100000 0\n", "-1 100000\n", "0 100000\n"}) {
    system.write("sys/fs/cgroup/cpu.max", nonsense);
    CHECK(std::isinf(system.quota()));
  }
}

TEST_CASE("processors: the least quota along the path counts, version 2") {
  const made_up_system system;
  system.write("proc/self/mountinfo", version_2);
  system.write("proc/self/cgroup", "0::/service/worker\n");
  system.write("sys/fs/cgroup/service/worker/cpu.max", "300000 100000\n");
  CHECK(system.quota() == 3);
  system.write("sys/fs/cgroup/service/cpu.max", "75000 50000\n");
  CHECK(system.quota() == 1.5);
  system.write("sys/fs/cgroup/service/worker/cpu.max", "max 100000\n");
  CHECK(system.quota() == 1.5);
  system.write("sys/fs/cgroup/cpu.max", "50000 100000\n");
  CHECK(system.quota() == 0.5);
  // Quotas of other groups do not count.
  system.write("sys/fs/cgroup/cpu.max", "max 100000\n");
  system.write("sys/fs/cgroup/service/other/cpu.max", "1000 100000\n");
  CHECK(system.quota() == 1.5);
}

TEST_CASE("processors: version 1, and both") {
  const made_up_system system;
  system.write("proc/self/mountinfo", version_1);
  system.write("proc/self/cgroup", "9:cpuset:/c\n4:cpu,cpuacct:/a/b\n1:name=systemd:/a\n0::/u\n");
  CHECK(std::isinf(system.quota()));
  const std::string folder = "sys/fs/cgroup/cpu,cpuacct/a/";
  system.write(folder + "b/cpu.cfs_quota_us", "-1\n");
  system.write(folder + "b/cpu.cfs_period_us", "100000\n");
  CHECK(std::isinf(system.quota()));
  system.write(folder + "b/cpu.cfs_quota_us", "400000\n");
  CHECK(system.quota() == 4);
  system.write(folder + "cpu.cfs_quota_us", "250000\n");
  CHECK(system.quota() == 4);  // without a period
  system.write(folder + "cpu.cfs_period_us", "100000\n");
  CHECK(system.quota() == 2.5);
  system.write("sys/fs/cgroup/unified/u/cpu.max", "200000 100000\n");
  CHECK(system.quota() == 2);
  system.write("sys/fs/cgroup/cpuset/c/cpu.cfs_quota_us", "100000\n");  // not a group of processor time
  system.write("sys/fs/cgroup/cpuset/c/cpu.cfs_period_us", "100000\n");
  CHECK(system.quota() == 2);
}

TEST_CASE("processors: quotas are read alike in every locale") {
  struct spaces : std::numpunct<char> {
    char do_thousands_sep() const override { return ' '; }
    std::string do_grouping() const override { return "\3"; }
  };
  const made_up_system system;
  system.write("proc/self/mountinfo", version_2);
  system.write("proc/self/cgroup", "0::/\n");
  system.write("sys/fs/cgroup/cpu.max", "150000 100000\n");
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new spaces));
  const double with_spaces = system.quota();
  std::locale::global(before);
  CHECK(with_spaces == 1.5);
  const other_cpp_locale points;
  CHECK(system.quota() == 1.5);
}

TEST_CASE("processors: a container sees the end of the path, or not even that") {
  const made_up_system system;
  system.write("proc/self/mountinfo", "30 23 0:26 /pods/one /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n");
  system.write("proc/self/cgroup", "0::/pods/one/inner\n");
  system.write("sys/fs/cgroup/inner/cpu.max", "200000 100000\n");
  CHECK(system.quota() == 2);
  system.write("sys/fs/cgroup/cpu.max", "100000 100000\n");
  CHECK(system.quota() == 1);
  system.write("sys/fs/two/cpu.max", "10000 100000\n");  // not a group, only where such a path would lead
  for (const char* outside : {"0::/\n", "0::/pods/two\n", "0::/../../two\n"}) {
    system.write("proc/self/cgroup", outside);
    CHECK(system.quota() == 1);
  }
}

TEST_CASE("processors: affinity decides how many threads a backend has") {
  CHECK(strata::available_processors() >= 1);
  CHECK(strata::available_processors() <= strata::processors_of_affinity());
  CHECK(strata::cpu().threads() == strata::available_processors());
  CHECK(support::in_child([]() -> std::string {
          cpu_set_t first;
          CPU_ZERO(&first);
          CPU_SET(sched_getcpu(), &first);
          if (sched_setaffinity(0, sizeof(first), &first) != 0) return "no affinity";
          return std::to_string(strata::processors_of_affinity()) + ' ' + std::to_string(strata::cpu().threads());
        }) == "1 1");
}

TEST_CASE("processors: work is cut into pieces where it is large enough, however large") {
  strata::cpu backend({.threads = 2});
  using strata::index_type;
  for (const auto& [count, cost] : {std::pair<index_type, index_type>{0, 9}, {9, 0}, {32767, 1}, {3, 10922}})
    CHECK(backend.pieces(count, cost) == 1);
  constexpr index_type large = index_type{1} << 32;  // the product of two is 0 in 64 bits
  for (const auto& [count, cost] :
       {std::pair<index_type, index_type>{32768, 1}, {1, 32768}, {3, 10923}, {large, large}})
    CHECK(backend.pieces(count, cost) == 2);
}

TEST_CASE("processors: more threads than that are had, and said") {
  using Catch::Matchers::ContainsSubstring;
  const int processors = strata::available_processors();
  CHECK(strata::cpu({.threads = processors}).message().empty());
  strata::cpu many({.threads = 64 * processors});
  CHECK(many.threads() == 64 * processors);
  CHECK_THAT(many.message(), ContainsSubstring(std::to_string(64 * processors) + " threads were asked for") &&
                                 ContainsSubstring("has " + std::to_string(processors) + " processor"));
  CHECK_THROWS_WITH(strata::cpu({.threads = -1}), ContainsSubstring("not -1"));
  // The message has a second sentence.
  strata::cpu both({.threads = 2 * processors,
                    .products = strata::matrix_products::own,
                    .precision = strata::product_precision::bfloat16});
  CHECK_THAT(both.message(), ContainsSubstring("the work of all; matrix products in bfloat16 need oneDNN"));
}

#if !STRATA_TEST_SANITIZER  // whose memory is larger than any limit
TEST_CASE("processors: a backend whose memory for threads does not fit is an error") {
  const std::string said = support::in_child([]() -> std::string {
    const rlimit limit{rlim_t{8} << 30, rlim_t{8} << 30};
    if (setrlimit(RLIMIT_AS, &limit) != 0) return "no limit";
    return message_of([] { strata::cpu({.threads = 2'000'000'000, .products = strata::matrix_products::own}); });
  });
  CHECK(said == "there is too little memory for a cpu backend of 2000000000 threads");
}
#endif
