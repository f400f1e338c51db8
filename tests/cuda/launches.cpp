// Executes every kernel on the CPU and notes how operations launch it.
#include "cuda/launches.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <memory>
#include <utility>
#include <vector>

#include <strata/backend/cuda/device.hpp>
#include <strata/core/error.hpp>

namespace kernels {
namespace {

std::map<std::string, launch_size> noted;

void note(const void* kernel, const dim3& threads, std::size_t bytes) {
  Dl_info symbol{};
  strata::require(dladdr(kernel, &symbol) != 0 && symbol.dli_sname != nullptr,
                  "a kernel has no name here: this program has to export its symbols");
  launch_size& most = noted[readable_name(symbol.dli_sname)];
  most.threads = std::max(most.threads, threads.x * threads.y * threads.z);
  most.bytes = std::max<unsigned long long>(most.bytes, bytes);
}

}  // namespace
}  // namespace kernels

namespace strata::device {
template <class Kernel, class... Rest>
void note_and_start_kernel(Kernel* kernel, dim3 blocks, dim3 threads, std::size_t bytes, Rest&&... rest) {
  kernels::note(reinterpret_cast<const void*>(kernel), threads, bytes);
  start_kernel(kernel, blocks, threads, bytes, std::forward<Rest>(rest)...);
}
}  // namespace strata::device
// From here on, whatever starts a kernel calls the function above.
#define start_kernel note_and_start_kernel

#include "cuda/models.hpp"

namespace kernels {
namespace {

using strata::index;

template <class Config>
void train_and_write(strata::cuda& backend) {
  const std::vector<std::uint8_t> text(200, 'a');
  strata::training_options options;
  options.batch = 2;
  options.length = 32;
  strata::trainer<Config, strata::cuda> trainer(backend, options);
  trainer.train_step(text);
  const std::vector<std::vector<strata::token>> prompts{{'a', 'b', 'c'}};
  for (const auto format :
       {strata::weight_format::float32, strata::weight_format::bfloat16, strata::weight_format::int8}) {
    strata::generator writer(trainer.model(), 1, {.weights = format});
    writer.write(prompts, 5, {}, [](auto, auto) {});
  }
}

/// All attention of one head of E channels, over 8 positions.
void attend(strata::cuda& backend, int head_dim) {
  constexpr index n = 8, span = 4;
  const index E = head_dim;
  strata::device_buffer<float> memory(128 * E);
  float* next = memory.data();
  const auto make = [&]<int Rank>(std::array<index, Rank> shape) {
    const strata::view<float, Rank> made{next, shape};
    next += made.size();
    return made;
  };
  const auto log_sum_exp = make.operator()<3>({1, 1, n});
  const auto y = make.operator()<2>({n, E});
  {
    const strata::attention_shape shape{1, n, 1, head_dim, span, 1};
    const auto qkv = make.operator()<2>({n, 3 * E}), dqkv = make.operator()<2>({n, 3 * E});
    const auto table = make.operator()<3>({4, n, E / 2}), ring = make.operator()<3>({1, span, E});
    attention(backend, shape, table, qkv, y, log_sum_exp);
    attention_backward(backend, shape, table, qkv, y, log_sum_exp, y, dqkv);
    attention_step(backend, {1, 1, 1, head_dim, span, 1}, n, qkv.slice(0, 1), {table.data, {2, span, E / 2}}, ring,
                   ring, y.slice(0, 1));
  }
  next = y.data + y.size();
  {
    const strata::cross_attention_shape shape{1, n, 1, n, 1, 1, head_dim, span};
    const auto key_value = make.operator()<2>({n, 2 * E}), dkey_value = make.operator()<2>({n, 2 * E});
    const auto query = make.operator()<2>({n, E}), dquery = make.operator()<2>({n, E});
    const auto bias = make.operator()<2>({1, span}), dbias = make.operator()<2>({1, span});
    cross_attention(backend, shape, query, key_value, bias, y, log_sum_exp, strata::update::replace);
    cross_attention_backward(backend, shape, query, key_value, bias, y, log_sum_exp, y, dquery, dkey_value, dbias);
    cross_attention_step(backend, shape, n, query.slice(0, 1), {key_value.data, {1, span, 2 * E}}, bias, y.slice(0, 1),
                         log_sum_exp, strata::update::replace);
  }
  backend.synchronize();
}

/// What models this small do not do: sums over so many rows that they are made in groups, products without terms, and the
/// gradient of a mean, which no loss needs.
void add_up(strata::cuda& backend) {
  constexpr index rows = 4096;
  strata::device_buffer<float> memory(rows + 2);
  strata::device_buffer<strata::token> ids(rows);
  const strata::view<float, 2> column{memory.data(), {rows, 1}}, sum{memory.data() + rows, {1, 1}};
  const strata::view<float, 1> bias{memory.data() + rows + 1, {1}};
  embed_backward(backend, ids.view(), column, sum);
  linear_backward_weight(backend, column, column, sum, bias);
  linear(backend, {memory.data(), {1, 0}}, {memory.data(), {1, 0}}, bias, sum, strata::update::replace);
  window_mean_backward(backend, {memory.data(), {1, 1, 1}}, 1, 1, {sum.data, {1, 1, 1}});
  backend.synchronize();
}

/// Rows that are wider than those of small models have kernels of their own.
void wide_rows(strata::cuda& backend) {
  constexpr index C = 300, V = 3000;
  strata::device_buffer<float> memory(2 * V + 8);
  strata::device_buffer<strata::token> ids(2);
  const strata::view<float, 3> x{memory.data(), {1, 2, C}}, dx{memory.data() + 2 * C, {1, 2, C}};
  const strata::view<float, 3> dembedding{memory.data() + 6 * C, {1, 2, C}};
  const strata::view<float, 1> gain{memory.data() + 4 * C, {C}}, bias{memory.data() + 5 * C, {C}};
  const strata::view<float, 1> factor{memory.data() + 2 * V, {2}}, mean{memory.data() + 2 * V + 2, {2}};
  const strata::view<float, 1> loss{memory.data() + 2 * V + 4, {1}}, lost{memory.data() + 2 * V + 6, {1}};
  rms_norm(backend, x, gain, 0, dx, factor);
  rms_norm_backward(backend, x, gain, 0, factor, x, dx, gain);
  layer_norm(backend, x, gain, bias, 0, dx, factor, mean);
  layer_norm_backward(backend, x, gain, 0, factor, mean, x, dx, gain, bias);
  cross_entropy(backend, x.rows(), ids.view(), -1, 1.f, loss, dx.rows());
  cosine_distance(backend, x, x, 1.f, loss, dx, dembedding);
  embedding_distance(backend, {}, {x.data, {1, 1, C}}, x, 1, ids.view().slice(0, 1), -1, 1.f, loss, lost,
                     {dx.data, {1, 1, C}}, dembedding);
  sample(backend, {}, 0, {memory.data(), {2, V}}, ids.view());
  backend.synchronize();
}

}  // namespace

std::string readable_name(const char* mangled) {
  const std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(mangled, nullptr, nullptr, nullptr),
                                                         &std::free);
  constexpr std::string_view result = "void ", ours = "strata::", device = "device::", nothing = "<void>";
  std::string name = text == nullptr ? "" : text.get();
  if (!name.starts_with(std::string(result) + std::string(ours) + std::string(device))) return "";
  // The parameters are what the last closing bracket ends.
  std::size_t begin = name.rfind(')');
  for (int depth = 1; depth > 0 && begin > 0;) depth += name[--begin] == ')' ? 1 : name[begin] == '(' ? -1 : 0;
  name = name.substr(result.size(), begin - result.size());
  for (const std::string_view left_out : {ours, device, nothing})
    for (std::size_t at; (at = name.find(left_out)) != std::string::npos;) name.erase(at, left_out.size());
  for (std::size_t at; (at = name.find("> >")) != std::string::npos;) name.erase(at + 1, 1);
  return name;
}

std::map<std::string, launch_size> launches_of_all_kernels() {
  noted.clear();
  strata::cuda backend;
  train_and_write<device_models::many_things>(backend);
  train_and_write<device_models::attends_to_levels>(backend);
  train_and_write<device_models::separable>(backend);
  train_and_write<device_models::shifts_levels>(backend);
  add_up(backend);
  wide_rows(backend);
  strata::cuda rounding({.precision = strata::cuda_precision::bfloat16});
  for (const int head_dim : {16, 32, 64, 128}) {
    attend(backend, head_dim);
    attend(rounding, head_dim);
  }
  add_up(rounding);
  return noted;
}

}  // namespace kernels
