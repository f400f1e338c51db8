// One backend serves one thread of one process at a time. Other callers get an error, and the backend works on.
#include <array>
#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <strata/cpu.hpp>
#include <strata/reference.hpp>

#include "support/catch.hpp"
#include "support/child.hpp"

using Catch::Matchers::ContainsSubstring;
using strata::index_type, strata::update, strata::view;

namespace {

constexpr index_type rows = 96, dim = 64;

/// What operations work on.
struct setup {
  std::vector<float> x = std::vector<float>(rows * dim, 0.5f), y = x, weight = std::vector<float>(dim * dim, 0.25f),
                     gain = std::vector<float>(dim, 1), dgain = gain, dbias = gain, factor = std::vector<float>(rows),
                     mean = factor;
  view<float, 2> inputs{x.data(), {rows, dim}}, outputs{y.data(), {rows, dim}}, weights{weight.data(), {dim, dim}};

  /// Operations that use memory shared by all threads, and memory of each thread.
  void run(strata::cpu& backend) {
    const view<float, 3> in{x.data(), {1, rows, dim}}, out{y.data(), {1, rows, dim}};
    const view<float, 1> gains{gain.data(), {dim}}, factors{factor.data(), {rows}}, means{mean.data(), {rows}};
    linear(backend, inputs, weights, {}, outputs, update::replace);
    layer_norm(backend, in, gains, gains, 0, out, factors, means);
    layer_norm_backward(backend, in, gains, 0, factors, means, in, out, {dgain.data(), {dim}}, {dbias.data(), {dim}});
  }
  bool operator==(const setup& other) const {
    return y == other.y && dgain == other.dgain && dbias == other.dbias && factor == other.factor;
  }
};

}  // namespace

TEST_CASE("sharing: an operation inside a parallel region of the same backend is refused") {
  for (const int threads : {1, 3}) {
    CAPTURE(threads);
    strata::cpu backend({.threads = threads});
    setup own;
    for (const index_type count : {index_type{1}, index_type{1} << 20})  // on the caller alone, and on all threads
      CHECK_THROWS_WITH(
          backend.parallel(count, 1,
                           [&](index_type, index_type) { copy(backend, own.inputs.flat(), own.outputs.flat()); }),
          ContainsSubstring("inside a parallel region of its own"));
    CHECK_THROWS_WITH(
        backend.parallel(
            1, 1, [&](index_type, index_type) { backend.parallel_numbered(1, 1, [](int, index_type, index_type) {}); }),
        ContainsSubstring("inside a parallel region of its own"));
    CHECK_NOTHROW(own.run(backend));
  }
}

TEST_CASE("sharing: a second thread at once is refused, by every kind of operation") {
  strata::cpu backend({.threads = 2});
  setup own;
  std::atomic<bool> inside{false}, tried{false};
  std::thread first([&] {
    backend.parallel(1, 1, [&](index_type, index_type) {
      inside = true;
      while (!tried) std::this_thread::yield();
    });
  });
  while (!inside) std::this_thread::yield();
  const auto refused = ContainsSubstring("give each thread its own");
  std::array<strata::token, 2> ids{};
  const view<strata::token, 1> tokens{ids.data(), {2}};
  CHECK_THROWS_WITH(linear(backend, own.inputs, own.weights, {}, own.outputs, update::replace), refused);
  CHECK_THROWS_WITH(linear_backward_input(backend, own.inputs, own.weights, own.outputs, update::replace), refused);
  CHECK_THROWS_WITH(linear_backward_weight(backend, own.inputs, own.outputs, own.weights, {}), refused);
  CHECK_THROWS_WITH(add(backend, own.inputs.flat(), own.outputs.flat()), refused);
  CHECK_THROWS_WITH(fill(backend, 1, own.outputs.flat()), refused);
  CHECK_THROWS_WITH(upload(backend, own.inputs.flat(), own.outputs.flat()), refused);
  CHECK_THROWS_WITH(upload_tokens(backend, tokens, tokens), refused);
  CHECK_THROWS_WITH(sample(backend, {}, 0, own.inputs, tokens), refused);
  tried = true;
  first.join();
  CHECK_NOTHROW(own.run(backend));
}

TEST_CASE("sharing: two threads that never wait for one another get right results or errors") {
  // Each operation acquires the backend again.
  strata::cpu backend({.threads = 2});
  setup expected;
  expected.run(backend);
  std::atomic<int> right{0}, wrong{0}, refused{0};
  const auto use = [&] {
    for (int round = 0; round < 200; ++round) try {
        setup own;
        own.run(backend);
        ++(own == expected ? right : wrong);
      } catch (const strata::error&) {
        ++refused;
      }
  };
  std::thread other(use);
  use();
  other.join();
  CHECK(wrong == 0);
  CHECK(right > 0);
  CHECK(right + refused == 400);
  CHECK_NOTHROW(setup().run(backend));
}

TEST_CASE("sharing: a forked process is told to make a backend of its own, and can end") {
  for (const int threads : {1, 2}) {
    CAPTURE(threads);
    std::optional<strata::cpu> backend;
    backend.emplace(strata::cpu_options{.threads = threads});
    setup own;
    own.run(*backend);
    const std::string said = support::in_child([&]() -> std::string {
      std::string sentence = "computed";
      try {
        own.run(*backend);
      } catch (const strata::error& problem) {
        sentence = problem.what();
      }
      backend.reset();
      return sentence;
    });
    const bool alone = threads == 1 || strata::available_processors() == 1;
    CHECK_THAT(said, ContainsSubstring(alone ? "computed" : "make a backend here"));
    CHECK_NOTHROW(own.run(*backend));
  }
}

namespace strata::of_sharing {

inline constexpr description small{
    .max_length = 32, .depth = 1, .levels = {{.dim = 16, .heads = 1, .head_dim = 16, .window = 8}}};

/// What another thread is told that calls work() now.
template <class Work>
std::string told_to_another_thread(Work work) {
  std::string said = "nothing";
  std::thread other([&] {
    try {
      work();
    } catch (const error& problem) {
      said = problem.what();
    }
  });
  other.join();
  return said;
}

TEMPLATE_TEST_CASE("sharing: generation, between its operations, keeps other threads out", "", cpu, reference<float>) {
  TestType backend;
  transformer<small, TestType> model(backend);
  generator<small, TestType> generates(model);
  const std::vector<std::vector<token>> prompts{{1, 2}};
  const std::vector<token> ids{1, 2, 3};
  const view<const token, 2> batch{ids.data(), {1, 3}};
  int refused = 0;
  generates.generate(prompts, 2, {}, [&](index_type, token) {
    const std::array<std::string, 4> said{told_to_another_thread([&] { model.forward(batch); }),
                                          told_to_another_thread([&] { model.accumulate_gradients(batch); }),
                                          told_to_another_thread([&] { model.set_dropout({}); }),
                                          told_to_another_thread([&] { generates.reset(); })};
    for (const std::string& each : said) refused += each.find("at work for another thread") != each.npos;
    CHECK_NOTHROW(model.losses(batch));  // this thread is not another one
  });
  CHECK(refused == 8);
  CHECK(told_to_another_thread([&] { model.forward(batch); }) == "nothing");
}

TEST_CASE("sharing: a process forked off in the middle of a use is told, too") {
  cpu backend({.threads = 2});
  setup own;
  const exclusive_use in_use(backend);
  const std::string said = support::in_child([&]() -> std::string {
    try {
      own.run(backend);
    } catch (const error& problem) {
      return problem.what();
    }
    return "computed";
  });
  CHECK_THAT(said, ContainsSubstring(available_processors() == 1 ? "computed" : "make a backend here"));
}

}  // namespace strata::of_sharing

TEST_CASE("sharing: a backend stays where it is, and a moved-from buffer is not copied to") {
  STATIC_REQUIRE_FALSE(std::is_move_constructible_v<strata::cpu>);
  STATIC_REQUIRE_FALSE(std::is_move_assignable_v<strata::cpu>);
  strata::cpu backend({.threads = 1});
  strata::buffer<float> from(8), to(8);
  strata::buffer<strata::token> ids(8), kept(8);
  const strata::buffer<float> moved(std::move(to));
  const strata::buffer<strata::token> moved_ids(std::move(kept));
  // NOLINTBEGIN(bugprone-use-after-move)
  CHECK_THROWS_WITH(upload(backend, from.view(), to.view()), ContainsSubstring("a copy of [8] to [0]"));
  CHECK_THROWS_WITH(download(backend, to.view(), from.view()), ContainsSubstring("a copy of [0] to [8]"));
  CHECK_THROWS_WITH(upload_tokens(backend, ids.view(), kept.view()), ContainsSubstring("[8] tokens to [0]"));
  // NOLINTEND(bugprone-use-after-move)
}
