// Costs known at compile time against what really happens: the parameter table, the memory allocated and written, and
// the matrix products computed.
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include <strata/reference.hpp>

#include "support/catch.hpp"
#include "support/models.hpp"

namespace {

/// Storage that starts as a pattern, so that the highest written element can be found.
struct watch {
  static inline std::size_t allocated_bytes = 0;
};
template <class T>
class watched_buffer : public strata::buffer<T> {
 public:
  watched_buffer() = default;
  explicit watched_buffer(strata::index_type count) : strata::buffer<T>(count) {
    watch::allocated_bytes += static_cast<std::size_t>(count) * sizeof(T);
    for (strata::index_type n = 0; n < count; ++n) this->data()[n] = pattern();
  }
  static T pattern() { return static_cast<T>(-77777.25); }
};

/// The reference backend, counting the FLOPs of matrix products and attention.
struct counting : strata::reference<float> {
  template <class T>
  using storage = watched_buffer<T>;
  double flops = 0;
};

using in1 = strata::view<const float, 1>;
using in2 = strata::view<const float, 2>;
using in3 = strata::view<const float, 3>;
using out1 = strata::view<float, 1>;
using out2 = strata::view<float, 2>;
using out3 = strata::view<float, 3>;
strata::reference<float>& plain(counting& backend) { return backend; }

void linear(counting& b, in2 x, in2 weight, in1 bias, out2 y, strata::update mode) {
  b.flops += 2.0 * static_cast<double>(x.shape[0] * weight.size());
  strata::linear(plain(b), x, weight, bias, y, mode);
}
void linear_backward_input(counting& b, in2 dy, in2 weight, out2 dx, strata::update mode) {
  b.flops += 2.0 * static_cast<double>(dy.shape[0] * weight.size());
  strata::linear_backward_input(plain(b), dy, weight, dx, mode);
}
void linear_backward_weight(counting& b, in2 dy, in2 x, out2 dweight, out1 dbias) {
  b.flops += 2.0 * static_cast<double>(dy.shape[0] * dweight.size());
  strata::linear_backward_weight(plain(b), dy, x, dweight, dbias);
}
/// Two products for every pair of a query and a key that it sees, counted one by one.
double attention_flops(const strata::attention_shape& shape) {
  double pairs = 0;
  for (strata::index_type i = 0; i < shape.length; ++i)
    for (strata::index_type j = i; j >= 0 && (i - j) / shape.dilation < shape.span; j -= shape.dilation) ++pairs;
  return 4.0 * static_cast<double>(shape.batch * shape.dim()) * pairs;
}
void attention(counting& b, const strata::attention_shape& shape, in3 table, in2 qkv, out2 y, out3 log_sum_exp) {
  b.flops += attention_flops(shape);
  strata::attention(plain(b), shape, table, qkv, y, log_sum_exp);
}
void attention_backward(counting& b, const strata::attention_shape& shape, in3 table, in2 qkv, in2 y, in3 log_sum_exp,
                        in2 dy, out2 dqkv) {
  b.flops += 2 * attention_flops(shape);
  strata::attention_backward(plain(b), shape, table, qkv, y, log_sum_exp, dy, dqkv);
}
void attention_step(counting& b, const strata::attention_shape& shape, strata::index_type count, in2 qkv, in3 table,
                    out3 keys, out3 values, out2 y) {
  b.flops += 4.0 * static_cast<double>(shape.batch * shape.dim() * std::min(count + 1, shape.span));
  strata::attention_step(plain(b), shape, count, qkv, table, keys, values, y);
}
double cross_attention_flops(const strata::cross_attention_shape& shape) {
  double pairs = 0;
  for (strata::index_type i = 0; i < shape.queries; ++i)
    pairs += static_cast<double>(shape.newest(i) - shape.oldest(i) + 1);
  return 4.0 * static_cast<double>(shape.batch * shape.dim()) * pairs;
}
void cross_attention(counting& b, const strata::cross_attention_shape& shape, in2 query, in2 key_value, in2 bias,
                     out2 y, out3 log_sum_exp, strata::update mode) {
  b.flops += cross_attention_flops(shape);
  strata::cross_attention(plain(b), shape, query, key_value, bias, y, log_sum_exp, mode);
}
void cross_attention_backward(counting& b, const strata::cross_attention_shape& shape, in2 query, in2 key_value,
                              in2 bias, in2 y, in3 log_sum_exp, in2 dy, out2 dquery, out2 dkey_value, out2 dbias) {
  b.flops += 2 * cross_attention_flops(shape);
  strata::cross_attention_backward(plain(b), shape, query, key_value, bias, y, log_sum_exp, dy, dquery, dkey_value,
                                   dbias);
}
void cross_attention_step(counting& b, const strata::cross_attention_shape& shape, strata::index_type count, in2 query,
                          in3 ring, in2 bias, out2 y, out3 log_sum_exp, strata::update mode) {
  b.flops += 4.0 * static_cast<double>(shape.batch * shape.dim() * std::min(count, shape.span));
  strata::cross_attention_step(plain(b), shape, count, query, ring, bias, y, log_sum_exp, mode);
}

void quantize(counting& b, in3 x, in3 projections, in3 codebooks, strata::view<strata::token, 3> codes) {
  b.flops +=
      2.0 * static_cast<double>(codes.size() * projections.shape[2] * (projections.shape[1] + codebooks.shape[1]));
  strata::quantize(plain(b), x, projections, codebooks, codes);
}

template <class Model>
void check_cost() {
  using cost = models::cost<Model>;
  using F = models::facts<Model>;
  counting backend;
  strata::index_type elements = 0;
  for (const auto& entry : models::parameters<Model>::entries())
    if (entry.kind != strata::parameter_kind::constant) elements += entry.size;
  CHECK(cost::parameters == elements);

  const auto activation_bytes = [](strata::index_type batch, strata::index_type tokens, strata::activation_use use) {
    return cost::activation_bytes(batch, tokens, use, sizeof(float), Model::losses, Model::dropout);
  };
  constexpr strata::index_type batch = 2;
  for (const strata::index_type tokens : {53, 64}) {
    INFO(tokens << " tokens");
    const auto ids = models::random_ids(batch, tokens + 1, F::vocabulary, 1);
    models::training_model<Model, counting> model(backend);
    watch::allocated_bytes = 0;
    model.reserve(batch, tokens);
    CHECK(activation_bytes(batch, tokens, strata::activation_use::training) == watch::allocated_bytes);
    // of(texts, positions of each level), summed over texts that differ in their positions.
    const auto of_all_texts = [&](const std::vector<strata::token>& inputs, auto of) {
      if (!F::follows_text) return of(batch, F::positions(tokens));
      double flops = 0;
      for (strata::index_type b = 0; b < batch; ++b) {
        strata::level_cuts<Model::description, counting> cuts;
        cuts.find(backend, {inputs.data() + b * tokens, {1, tokens}});
        auto positions = F::positions(tokens);
        for (std::size_t l = 0; l < positions.size(); ++l) positions[l] = cuts.shapes()[l].positions;
        flops += of(1, positions);
      }
      return flops;
    };
    backend.flops = 0;
    if (F::groups > 1) {  // of one text, whose pass alone knows the positions
      model.forward({ids.data(), {1, tokens}});
      auto positions = F::positions(tokens);
      for (int l = 0; l < F::level_count; ++l) positions[static_cast<std::size_t>(l)] = model.embeddings(l).shape[1];
      CHECK(cost::forward_flops(1, tokens, true, positions) == backend.flops);
    } else {
      model.forward({ids.data(), {batch, tokens}});
      CHECK(of_all_texts({ids.begin(), ids.begin() + batch * tokens},
                         [&](strata::index_type texts, const auto& positions) {
                           return cost::forward_flops(texts, tokens, true, positions);
                         }) == backend.flops);
    }
    if (!F::follows_text) CHECK(cost::forward_flops(batch, tokens) == backend.flops);
    std::vector<strata::token> inputs;
    for (strata::index_type b = 0; b < batch; ++b)
      inputs.insert(inputs.end(), ids.begin() + b * (tokens + 1), ids.begin() + (b + 1) * (tokens + 1) - 1);
    const auto training = [&](bool merge) {
      return of_all_texts(inputs, [&](strata::index_type texts, const auto& positions) {
        return cost::training_flops(texts, tokens, merge, Model::losses, positions);
      });
    };
    backend.flops = 0;
    model.accumulate_gradients({ids.data(), {batch, tokens + 1}});
    if (F::groups == 1) CHECK(training(true) == backend.flops);
    backend.flops = 0;
    model.accumulate_gradients({ids.data(), {batch, tokens + 1}}, strata::loss_values(Model::losses), {.merge = false});
    if (F::groups == 1) CHECK(training(false) == backend.flops);

    models::training_model<Model, counting> recomputing(backend);
    recomputing.recompute_activations(true);
    watch::allocated_bytes = 0;
    recomputing.reserve(batch, tokens);
    CHECK(activation_bytes(batch, tokens, strata::activation_use::recomputing) == watch::allocated_bytes);
  }

  if (F::follows_text) return;  // what a token costs depends on the text
  // Inference: memory, and FLOPs a token once every ring is full, over a whole period of the strides. High scores use
  // up the routing budget, low scores use none.
  using inference_cost = strata::cost<Model::description, strata::inference>;
  models::inference_model<Model, counting> model(backend, 0);
  watch::allocated_bytes = 0;
  model.reserve(batch, 31);
  CHECK(inference_cost::activation_bytes(batch, 31, strata::activation_use::inference) == watch::allocated_bytes);
  strata::index_type full = 0;
  for (const auto& level : F::levels) full = std::max<strata::index_type>(full, level.span * level.compression);
  full = (full + 63) / 64 * 64;
  double heavy = 0;
  for (const auto& level : F::levels)
    heavy += F::depth * 4.0 * level.capacity * level.dim * level.heavy_hidden / level.stride;
  for (const bool selects : {true, false}) {
    for (const auto& entry : models::inference_model<Model, counting>::parameters_type::entries())
      if (entry.name.ends_with(".route.bias")) model.weights()(entry.offset) = selects ? 1e3f : -1e3f;
    models::generator<Model, counting> writer(model, batch);
    const strata::token newest[] = {1, 2};
    for (strata::index_type t = 0; t < full; ++t) writer.step({newest, {batch}});
    backend.flops = 0;
    for (int t = 0; t < 64; ++t) writer.step({newest, {batch}});
    CHECK(inference_cost::inference_flops_per_token == cost::inference_flops_per_token);
    CHECK(cost::inference_flops_per_token - (selects ? 0 : heavy) == Approx(backend.flops / 64 / batch).epsilon(1e-12));
    if (heavy == 0) break;
  }
}

}  // namespace

TEMPLATE_TEST_CASE("costs are those of what happens", "", STRATA_MODELS) { check_cost<TestType>(); }

TEST_CASE("recomputing takes about a third of the activation memory") {
  // The numbers in docs/benchmarks.md, in MB.
  constexpr auto recomputing = strata::activation_use::recomputing;
  STATIC_REQUIRE(strata::cost<strata::presets::base>::activation_bytes(4, 1024) / 1'000'000 == 1391);
  STATIC_REQUIRE(strata::cost<strata::presets::base>::activation_bytes(4, 1024, recomputing) / 1'000'000 == 466);
}

TEST_CASE("costs of impossible shapes are refused") {
  using Catch::Matchers::ContainsSubstring;
  using cost = strata::cost<strata::presets::base>;
  constexpr auto training = strata::activation_use::training;
  constexpr strata::index_type half = strata::index_type{1} << 32;
  for (const auto& [batch, tokens] : {std::pair<strata::index_type, strata::index_type>{0, 8},
                                      {8, 0},
                                      {-1, 8},
                                      {8, -1},
                                      {half, half},
                                      {strata::most_tokens, 2}}) {
    CAPTURE(batch, tokens);
    const auto asked = ContainsSubstring("[" + std::to_string(batch) + ", " + std::to_string(tokens) + "]");
    CHECK_THROWS_WITH(cost::activation_bytes(batch, tokens), asked);
    CHECK_THROWS_WITH(cost::forward_flops(batch, tokens), asked);
  }
  CHECK_THROWS_WITH(cost::cache_bytes(0), ContainsSubstring("[0, 1]"));
  CHECK_THROWS_WITH(cost::cache_bytes(2 * strata::most_tokens), ContainsSubstring(", 1]"));
  // Elements that can be counted, in bytes that cannot.
  constexpr std::size_t large = std::size_t{1} << 56;
  CHECK_THROWS_WITH(cost::activation_bytes(1, 8, training, large), ContainsSubstring("more than a memory can hold"));
  CHECK_THROWS_WITH(cost::cache_bytes(1, large), ContainsSubstring("more than a memory can hold"));
  STATIC_REQUIRE(cost::cache_bytes(2) > cost::cache_bytes(1));
}

TEST_CASE("the planned memory is written to its end and not beyond") {
  using mixed = models::mixed;
  using parameters = models::parameters<mixed>;
  counting backend;
  constexpr strata::index_type batch = 2, tokens = 53;
  const auto use = GENERATE(strata::activation_use::training, strata::activation_use::recomputing);
  const auto losses = mixed::losses.of_model(models::facts<mixed>::model);
  const auto acts = strata::plan_activations<mixed::description>(losses, batch, tokens, use);
  constexpr strata::index_type guard = 64;
  watched_buffer<float> memory(acts.memory_size + guard), scratch(acts.scratch_size + guard);
  watched_buffer<strata::token> targets(acts.targets_size + guard);
  watched_buffer<float> weights(parameters::buffer_size), gradients(parameters::buffer_size);
  std::fill_n(weights.data(), weights.size(), 0.01f);
  std::fill_n(gradients.data(), gradients.size(), 0.f);
  for (int l = 0; l < 4; ++l) {
    if (!acts.rotary[l]) continue;
    const auto table =
        strata::rotary_table<float>(models::facts<mixed>::levels[static_cast<std::size_t>(l)], acts.rotary[l].shape[1]);
    std::copy(table.begin(), table.end(), memory.data() + acts.rotary[l].offset);
  }
  const auto ids = models::random_ids(batch, tokens, 67, 1);
  const strata::view<const strata::token, 2> input{ids.data(), {batch, tokens}};
  const strata::pass<counting> p{
      backend,          batch,           tokens, {weights.data()}, {gradients.data()}, {memory.data()},
      {scratch.data()}, {targets.data()}};
  strata::forward(p, acts, parameters::layout.network, input, true);
  strata::evaluate_losses(p, acts, losses, parameters::layout.losses, input, input, strata::loss_values(losses), 1,
                          true);
  strata::backward(p, acts, parameters::layout.network, input, true);

  const auto highest_written = [](const auto& buffer) {
    strata::index_type end = buffer.size();
    while (end > 0 && buffer.data()[end - 1] == buffer.pattern()) --end;
    return end;
  };
  // The last tensor may be followed by a gap of less than 16 elements.
  CHECK(highest_written(memory) <= acts.memory_size);
  CHECK(highest_written(memory) > acts.memory_size - 16);
  CHECK(highest_written(scratch) <= acts.scratch_size);
  CHECK(highest_written(scratch) > acts.scratch_size - 16);
  CHECK(highest_written(targets) <= acts.targets_size);
  CHECK(highest_written(targets) > acts.targets_size - 16);
}

TEST_CASE("cache bytes are what a generator allocates") {
  counting backend;
  const models::inference_model<models::mixed, counting> model(backend, 0);
  watch::allocated_bytes = 0;
  models::generator<models::mixed, counting> writer(model, 3);
  const auto acts = strata::plan_inference<models::mixed::description>(3, 1);
  const std::size_t ids = 3 * (1 + 16) * sizeof(strata::token);
  CHECK(watch::allocated_bytes == models::cost<models::mixed>::cache_bytes(3) +
                                      static_cast<std::size_t>(acts.memory_size + acts.scratch_size) * sizeof(float) +
                                      ids);
}
