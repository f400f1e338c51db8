#include "network.hpp"

#include <array>
#include <optional>

namespace compress_text {
namespace {

/// For tests of the program: quick, and worse.
constexpr strata::description tiny_model{
    .max_length = 64, .depth = 1, .levels = {{.dim = 32, .heads = 2, .head_dim = 16, .window = 16}}};
constexpr learning tiny{.window = 32, .replays = 1, .mixer = {.counter_bits = 16, .history_bits = 18}};

constexpr strata::description fast_model{
    .max_length = 256, .depth = 4, .levels = {{.dim = 128, .heads = 4, .head_dim = 32, .window = 64}}};
constexpr learning fast{.replays = 1};

constexpr strata::description normal_model{
    .max_length = 256, .depth = 4, .levels = {{.dim = 192, .heads = 6, .head_dim = 32, .window = 64}}};
constexpr learning normal{.replays = 1};

constexpr strata::description best_model{
    .max_length = 256, .depth = 6, .levels = {{.dim = 256, .heads = 8, .head_dim = 32, .window = 64}}};
constexpr learning best{.replays = 2, .learning_rate = 1e-3, .mixer = {.counter_bits = 24, .history_bits = 26}};

template <const auto& D>
class network_of final : public network {
 public:
  network_of(strata::cpu& backend, const learning& how)
      : trainer_(backend, {.schedule = {.peak = how.learning_rate, .final_fraction = 1, .warmup = 20},
                           .beta2 = how.beta2,
                           .weight_decay = how.weight_decay}) {}

  void begin_texts(strata::index_type streams) override {
    if (generator_ && generator_->batch() == streams)
      generator_->reset();
    else
      generator_.emplace(trainer_.model(), streams);
  }
  strata::view<const float, 2> step(std::span<const strata::token> ids) override {
    return generator_->step({ids.data(), {static_cast<strata::index_type>(ids.size())}});
  }
  void train(strata::view<const strata::token, 2> rows) override { trainer_.train_on(rows); }

 private:
  strata::trainer<D, strata::cpu, strata::losses<>> trainer_;
  std::optional<strata::generator<D, strata::cpu>> generator_;
};

template <const auto& D>
constexpr size_of_model size(const char* name, const learning& how) {
  return {name, how, [] { return strata::to_json(D); },
          [](strata::cpu& backend, const learning& own) -> std::unique_ptr<network> {
            return std::make_unique<network_of<D>>(backend, own);
          }};
}

constexpr std::array all_sizes{size<tiny_model>("tiny", tiny), size<fast_model>("fast", fast),
                               size<normal_model>("default", normal), size<best_model>("best", best)};

}  // namespace

nlohmann::json to_json(const learning& own) {
  return {{"streams", own.streams},
          {"step_bytes", own.step_bytes},
          {"window", own.window},
          {"replays", own.replays},
          {"learning_rate", own.learning_rate},
          {"beta2", own.beta2},
          {"weight_decay", own.weight_decay},
          {"counter_bits", own.mixer.counter_bits},
          {"history_bits", own.mixer.history_bits}};
}

const size_of_model* size_named(const std::string& name) {
  for (const size_of_model& each : all_sizes)
    if (name == each.name) return &each;
  return nullptr;
}

}  // namespace compress_text
