// One block, forward and backward, with routing and without.
#include <algorithm>
#include <benchmark/benchmark.h>
#include <string>

#include "cpu_device.hpp"

namespace {

using strata::index_type;

/// A block with all memory of its own and random weights, inputs and gradients.
class lone_block {
 public:
  lone_block(strata::cpu& backend, const strata::level_facts& level, index_type batch, index_type length)
      : backend_(backend), level_(level), batch_(batch), length_(length) {
    strata::parameter_plan sizes;
    declare_block(sizes, level, 0, 0, {});
    strata::parameter_plan table(sizes.regions());
    own_ = declare_block(table, level, 0, 0, {});
    strata::activation_plan plan;
    const auto x = plan.memory.add<3>({batch, length, level.dim}), y = plan.memory.add<3>(x.shape);
    dx_ = plan.memory.add<3>(x.shape);
    rotary_ = plan.memory.add<3>({4, length, level.head_dim / 2});
    acts_ = plan_block(plan, level, batch, length, x, y);
    weights_ = random(table.buffer_size(), 0.05f);
    // Gains start at 1. So does the bias of the routing score: most scores are then above 0.
    std::fill(weights_.data() + sizes.regions().first_vector, weights_.data() + weights_.size(), 1.f);
    gradients_ = strata::buffer<float>(table.buffer_size());
    memory_ = random(plan.memory.size(), 1);
    scratch_ = strata::buffer<float>(plan.scratch_size);
    rows_ = strata::buffer<strata::token>(plan.targets.size());
  }
  void forward_and_backward() {
    const strata::pass<strata::cpu> p{
        backend_,          batch_,        length_, {weights_.data()}, {gradients_.data()}, {memory_.data()},
        {scratch_.data()}, {rows_.data()}};
    block_forward(p, level_, own_, acts_, p.memory[rotary_]);
    block_backward(p, level_, own_, acts_, p.memory[rotary_], p.memory[dx_]);
  }

 private:
  static strata::buffer<float> random(index_type count, float deviation) {
    const strata::random_source source(1);
    strata::buffer<float> values(count);
    for (index_type n = 0; n < count; ++n)
      values.data()[n] = deviation * static_cast<float>(source.normal(0, static_cast<std::uint64_t>(n)));
    return values;
  }
  strata::cpu& backend_;
  strata::level_facts level_;
  index_type batch_, length_;
  strata::block_parameters own_;
  strata::block_activations acts_;
  strata::tensor<3> dx_, rotary_;
  strata::buffer<float> weights_, gradients_, memory_, scratch_;
  strata::buffer<strata::token> rows_;
};

/// Compares the first level of `D` with the same level with routing. The heavy branch is as wide as the feed-forward.
template <const auto& D>
void routing(benchmark::State& state, index_type batch, int light_multiple, double capacity) {
  strata::cpu backend;
  strata::level_facts plain = strata::facts<D>::levels[0], routed = plain;
  routed.hidden = light_multiple * plain.dim;
  routed.heavy_hidden = plain.hidden;
  routed.capacity = capacity;
  lone_block without(backend, plain, batch, D.max_length), with(backend, routed, batch, D.max_length);
  measuring::compare_in_turn(
      state, [&] { without.forward_and_backward(); }, [&] { with.forward_and_backward(); });
}

template <const auto& D>
void add(const std::string& name, index_type batch, int light_multiple, double capacity) {
  benchmark::RegisterBenchmark(name.c_str(), [=](auto& state) { routing<D>(state, batch, light_multiple, capacity); })
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime()
      ->Iterations(15);
}

}  // namespace

int main(int argc, char** argv) {
  strata::keep_freed_memory();
  add<strata::presets::small>("routing/small/light:1/capacity:0.25", 8, 1, 0.25);
  add<strata::presets::base>("routing/base/light:1/capacity:0.25", 2, 1, 0.25);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
