// How fast an H100 could train and generate at its limits, on paper. A backend that computes nothing counts what each
// operation moves and multiplies. An operation takes as long as the slower of the two.
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>

#include <strata/strata.hpp>

#include "cuda/page.hpp"

namespace roofline {

using strata::adam_settings;
using strata::attention_shape;
using strata::column_range;
using strata::cross_attention_shape;
using strata::distance_settings;
using strata::dropout_mask;
using strata::index_type;
using strata::matrix_place;
using strata::muon_settings;
using strata::sampling_options;
using strata::token;
using strata::update;
using strata::view;

// Of an H100 SXM, a second. Source: NVIDIA H100 Tensor Core GPU datasheet, whose numbers for tensor cores are twice
// these: they count sparse matrices.
constexpr double bandwidth = 3.35e12;
constexpr std::size_t float32 = 0, tf32 = 1;
constexpr std::array<double, 3> peaks{67e12, 494.7e12, 989.4e12};  // float32, TF32 and bfloat16

// Bytes of device memory. Each tensor is read or written once, and both where an operation adds to it. Outputs are the
// tensors that an operation may change.

template <class T, int Rank>
double bytes(const view<T, Rank>& x) {
  return static_cast<double>(x.size()) * sizeof(T);
}
template <class Setting>
double bytes(const Setting&) {
  return 0;
}
template <class Any>
constexpr bool is_output = false;
template <int Rank>
constexpr bool is_output<view<float, Rank>> = true;
template <int Rank>
constexpr bool is_output<view<token, Rank>> = true;

template <class Setting>
bool asks_to_add(const Setting&) {
  return false;
}
bool asks_to_add(update mode) { return mode == update::add; }
/// Operations that always add to their outputs, according to backend/backend.hpp.
bool always_adds(const std::string& name) {
  for (const char* other : {"add", "linear_backward_weight", "rms_norm_backward", "layer_norm_backward",
                            "cross_attention_backward", "unfold_backward", "window_mean_backward", "depthwise_backward",
                            "add_routed", "confidence_backward", "sigmoid_pairs", "adam", "muon"})
    if (name == other) return true;
  return false;
}

template <class... Arguments>
double moved(const std::string& name, const Arguments&... arguments) {
  const bool adds = always_adds(name) || (asks_to_add(arguments) || ...);
  return (0.0 + ... + (bytes(arguments) * (is_output<Arguments> && adds ? 2 : 1)));
}
/// embed: no more rows of the table than there are ids.
double moved(const std::string&, const view<const token, 1>& ids, const view<const float, 2>& table,
             const view<float, 2>& y, update mode) {
  return bytes(ids) + bytes(y) * (mode == update::add ? 2 : 1) + std::min(bytes(table), bytes(y));
}
/// embed_backward: the same.
double moved(const std::string&, const view<const token, 1>& ids, const view<const float, 2>& dy,
             const view<float, 2>& dtable) {
  return bytes(ids) + bytes(dy) + 2 * std::min(bytes(dtable), bytes(dy));
}
/// adam_rows: weights and moments of as many rows as there are gradients.
double moved(const std::string&, const adam_settings&, const view<const token, 1>& rows,
             const view<const float, 2>& gradient, const view<const float, 1>& measures, const view<float, 2>&,
             const view<float, 2>&, const view<float, 2>&) {
  return bytes(rows) + bytes(measures) + 7 * bytes(gradient);
}
/// repeat, subsample and their gradients: as many columns of the wider tensor as the other has.
double moved(const std::string& name, const view<const float, 3>& from, int, index_type, const view<float, 3>& to) {
  const index_type width = std::min(from.shape[2], to.shape[2]);
  const index_type read = name == "subsample" ? to.size() : from.shape[0] * from.shape[1] * width;
  const index_type written = to.shape[0] * to.shape[1] * width;
  const bool adds = name == "subsample" || name == "repeat_backward";
  return 4.0 * static_cast<double>(read + written * (adds ? 2 : 1));
}
/// take_columns and its gradient.
double moved(const std::string& name, const view<const float, 3>& from, const column_range& range,
             const view<float, 3>& to) {
  const index_type read = from.shape[0] * from.shape[1], written = to.shape[0] * to.shape[1];
  return 4.0 * static_cast<double>((read + written * (name == "take_columns" ? 1 : 2)) * range.width);
}
/// attention_step: the rows of the rings that are seen, and the new row.
double moved(const std::string&, const attention_shape& shape, index_type count, const view<const float, 2>& qkv,
             const view<const float, 3>& table, const view<float, 3>&, const view<float, 3>&, const view<float, 2>& y) {
  const index_type rows = std::min(count + 1, shape.span) + 1;
  return bytes(qkv) + bytes(table) + 2 * 4.0 * static_cast<double>(shape.batch * rows * shape.dim()) + bytes(y);
}
/// keep_row: one row of the ring.
double moved(const std::string&, const view<const float, 2>& x, index_type, const view<float, 3>&) {
  return 2 * bytes(x);
}

// FLOPs of matrix products and attention; strata::cost counts nothing else.

template <class... Arguments>
double multiplied(const std::string&, const Arguments&...) {
  return 0;
}
double of_product(index_type rows, index_type weights) {
  return 2 * static_cast<double>(rows) * static_cast<double>(weights);
}
double multiplied(const std::string&, const view<const float, 2>& x, const view<const float, 2>& weight,
                  const view<const float, 1>&, const view<float, 2>&, update) {
  return of_product(x.shape[0], weight.size());
}
double multiplied(const std::string&, const view<const float, 2>& dy, const view<const float, 2>& weight,
                  const view<float, 2>&, update) {
  return of_product(dy.shape[0], weight.size());
}
double multiplied(const std::string&, const view<const float, 2>& dy, const view<const float, 2>&,
                  const view<float, 2>& dweight, const view<float, 1>&) {
  return of_product(dy.shape[0], dweight.size());
}
double multiplied(const std::string&, const view<const float, 2>& x, const view<const strata::bfloat16, 2>& packed,
                  const view<const float, 1>&, const view<float, 2>&, update) {
  return of_product(x.shape[0], packed.size());
}
double multiplied(const std::string&, const view<const float, 2>& x, const view<const std::int8_t, 2>& packed,
                  const view<const float, 1>&, const view<const float, 1>&, const view<float, 2>&, update) {
  return of_product(x.shape[0], packed.size());
}
/// attention and attention_backward, which counts twice as much, as if all weights were kept.
template <class... Others>
double multiplied(const std::string& name, const attention_shape& shape, const view<const float, 3>&,
                  const Others&...) {
  double pairs = 0;
  for (index_type i = 0; i < shape.length; ++i)
    pairs += static_cast<double>(std::min(i / shape.dilation + 1, shape.span));
  return (name == "attention" ? 4.0 : 8.0) * static_cast<double>(shape.batch * shape.dim()) * pairs;
}
template <class... Others>
double multiplied(const std::string&, const attention_shape& shape, index_type count, const Others&...) {
  return 4.0 * static_cast<double>(shape.batch * shape.dim() * std::min(count + 1, shape.span));
}

/// The counts of an operation.
struct work {
  int calls = 0;
  double bytes = 0, flops = 0;
  std::array<double, peaks.size()> seconds{};
  void add(const work& other) {
    calls += other.calls;
    bytes += other.bytes;
    flops += other.flops;
    for (std::size_t n = 0; n < peaks.size(); ++n) seconds[n] += other.seconds[n];
  }
};

struct counting;
template <class... Arguments>
void count(counting& backend, const char* name, const Arguments&... arguments);

// One function for each operation, with the parameters of the example in backend/backend.hpp.
#define STRATA_OP(name, arguments)                                                               \
  template <class... Arguments>                                                                  \
  struct counts_##name {                                                                         \
    friend void name(counting& backend, Arguments... given) { count(backend, #name, given...); } \
  };
STRATA_FOR_EACH_OPERATION(STRATA_OP)
#undef STRATA_OP

using S = float;
extern int b;
extern view<const S, 1> in1;
extern view<const S, 2> in2;
extern view<const S, 3> in3;
extern view<S, 1> out1;
extern view<S, 2> out2;
extern view<S, 3> out3;
extern view<const token, 1> ids1;
extern view<const token, 2> ids2;
extern view<token, 1> tokens1;
extern view<token, 2> tokens2;
extern view<token, 3> targets3;
// Packed weights are only read in what is counted here.
extern view<const strata::bfloat16, 1> halves1;
extern view<const strata::bfloat16, 2> halves2;
extern view<const std::int8_t, 2> bytes2;
template <template <class...> class Counts, class... Arguments>
Counts<Arguments...> with_types_of(int, Arguments...);

/// Memory that is never touched, so that the system provides none.
template <class T>
class untouched {
 public:
  untouched() = default;
  explicit untouched(index_type count)
      : data_(static_cast<T*>(std::calloc(static_cast<std::size_t>(count), sizeof(T)))), size_(count) {}
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  index_type size() const { return size_; }
  strata::view<T, 1> view() { return {data(), {size_}}; }
  strata::view<const T, 1> view() const { return {data(), {size_}}; }

 private:
  struct give_back {
    void operator()(T* memory) const { std::free(memory); }
  };
  std::unique_ptr<T, give_back> data_;
  index_type size_ = 0;
};

struct all_work {
  std::map<std::string, work> of;  // by operation
};
/// Computes nothing: memory stays as it is, and what is downloaded is 1.
struct counting :
#define STRATA_OP(name, arguments) decltype(with_types_of<counts_##name> arguments),
    STRATA_FOR_EACH_OPERATION(STRATA_OP)
#undef STRATA_OP
        all_work {
  using scalar = float;
  template <class T>
  using storage = untouched<T>;
};

template <class... Arguments>
void to_host(const Arguments&...) {}
void to_host(const view<const float, 1>&, const view<float, 1>& host) { std::fill_n(host.data, host.size(), 1.f); }

template <class... Arguments>
void count(counting& backend, const char* name, const Arguments&... arguments) {
  work own{1, moved(name, arguments...), multiplied(name, arguments...), {}};
  const bool attends = std::string_view(name).starts_with("attention");
  for (std::size_t n = 0; n < peaks.size(); ++n)
    own.seconds[n] = std::max(own.bytes / bandwidth, own.flops / peaks[attends && n == tf32 ? float32 : n]);
  backend.of[name].add(own);
  if (std::string_view(name) == "download") to_host(arguments...);
}

work total(const counting& backend) {
  work all;
  for (const auto& [name, own] : backend.of) all.add(own);
  return all;
}

std::string number(double value, int digits) {
  char text[400];
  return {text, std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, digits).ptr};
}
/// Digits in groups of three, as 1,234,567.
std::string whole(double value) {
  std::string text = number(value, 0);
  for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}

template <const auto& D>
std::vector<std::string> training_table(const char* name, index_type batch) {
  counting backend;
  strata::training_options options;
  options.batch = batch;
  const double tokens = static_cast<double>(batch * D.max_length);
  {
    strata::trainer<D, counting> trainer(backend, options);
    trainer.model().reserve(batch, D.max_length);
    backend.of.clear();
    trainer.train_step(std::vector<std::uint8_t>(2 * D.max_length, 'a'));
  }
  const work all = total(backend);
  const double expected = strata::cost<D>::training_flops(batch, D.max_length);
  strata::require(std::abs(all.flops - expected) <= 1e-9 * expected, "a step of ", name, " has ", all.flops,
                  " FLOPs, but strata::cost says ", expected);

  std::vector<std::pair<std::string, work>> rows(backend.of.begin(), backend.of.end());
  std::stable_sort(rows.begin(), rows.end(),
                   [](const auto& x, const auto& y) { return x.second.seconds[0] > y.second.seconds[0]; });
  std::vector<std::string> lines{strata::to_text("| a step of `", name, "`, ", batch, " x ", D.max_length,
                                                 " | calls | MB | GFLOP | float32, us | TF32, us | bfloat16, us |"),
                                 "|---|---|---|---|---|---|---|"};
  const auto add_line = [&](const std::string& label, const work& own) {
    std::string line = strata::to_text("| ", label, " | ", own.calls, " | ", whole(own.bytes / 1e6), " | ",
                                       own.flops == 0 ? "" : number(own.flops / 1e9, 1), " |");
    for (const double seconds : own.seconds) line += " " + number(seconds * 1e6, 1) + " |";
    lines.push_back(line);
  };
  work others;
  for (const auto& [operation, own] : rows)
    if (own.seconds[2] >= 0.01 * all.seconds[2])
      add_line("`" + operation + "`", own);
    else
      others.add(own);
  add_line("others", others);
  add_line("**together**", all);
  std::string last = "| **tokens/s** | | | |";
  for (const double seconds : all.seconds) last += " " + whole(tokens / seconds) + " |";
  lines.push_back(last);
  return lines;
}

template <const auto& D>
void add_writing(const char* name, std::vector<std::string>& lines) {
  constexpr std::array<std::pair<strata::weight_format, const char*>, 3> formats{
      {{strata::weight_format::float32, "float32"},
       {strata::weight_format::bfloat16, "bfloat16"},
       {strata::weight_format::int8, "int8"}}};
  counting backend;
  const strata::transformer<D, counting, strata::inference> model(backend, 0);
  for (const auto& [format, format_name] : formats)
    for (const index_type texts : {1, 64}) {
      strata::generator<D, counting> writer(model, texts, {.weights = format});
      const std::vector<token> newest(static_cast<std::size_t>(texts), 'a');
      const auto write = [&](index_type count) {
        for (index_type t = 0; t < count; ++t) writer.step({newest.data(), {texts}});
      };
      constexpr index_type steps = 64;  // a whole number of periods of all strides
      write(D.max_length);              // until all rings are full
      backend.of.clear();
      write(steps);
      const work all = total(backend);
      const double seconds = all.seconds[0] / steps;
      lines.push_back(
          strata::to_text("| `", name, "`, ", format_name, ", ", texts, texts == 1 ? " text | " : " texts | ",
                          number(static_cast<double>(all.calls) / steps, 1), " | ", number(all.bytes / steps / 1e6, 1),
                          " | ", number(seconds * 1e6, 1), " | ", whole(static_cast<double>(texts) / seconds), " |"));
    }
}

void run(const std::string& page, bool write) {
  using strata::presets::base;
  using strata::presets::small;
  keep_table(page, training_table<small>("small", 8), write);
  keep_table(page, training_table<base>("base", 4), write);
  std::vector<std::string> lines{"| a token of each text | operations | MB | us | tokens/s |", "|---|---|---|---|---|"};
  add_writing<small>("small", lines);
  add_writing<base>("base", lines);
  keep_table(page, lines, write);
}

}  // namespace roofline

int main(int count, char** arguments) {
  const std::string what = count == 3 ? arguments[1] : "";
  if (what != "check" && what != "write") {
    std::fprintf(stderr, "usage: cuda_roofline check|write <page>\n");
    return 2;
  }
  try {
    roofline::run(arguments[2], what == "write");
  } catch (const strata::error& problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    return 1;
  }
}
