// What write_text does, for any device; write_text.cpp reads its options.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

#include <strata/strata.hpp>

#include "console.hpp"
#include "device.hpp"
#include "level_view.hpp"
#include "models.hpp"
#include "tokenizer.hpp"

namespace write_text {

struct program_options {
  std::string weights, measured, tokenizer;
  std::vector<std::string> prompts;
  bool measures = false, levels = false;  ///< `levels`: show where positions begin
  std::string page;                       ///< of the levels
  strata::weight_format format = strata::weight_format::float32;
  strata::index_type length = 500;
  examples::device_options device;
  strata::sampling_options sampling;
};

/// Prints how many bits the model needs for each byte of a text, on average. The first token does not count.
template <class Writer>
void measure(Writer& writer, const examples::tokenizer& by, const std::filesystem::path& path,
             const std::filesystem::path& weights) {
  const auto bytes = strata::read_file(path);
  std::vector<strata::token> ids;
  try {
    ids = by.encode({reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(bytes.size())});
  } catch (const strata::error& problem) {
    strata::fail(path, ": ", problem.what());
  }
  strata::require(ids.size() > 1, path, ": a text to measure needs at least 2 ", by.unit(), "s");
  double nats = 0, counted = 0;
  examples::progress_bar bar;
  const auto started = std::chrono::steady_clock::now();
  for (std::size_t n = 0; n + 1 < ids.size(); ++n) {
    bar.draw(static_cast<double>(n) / static_cast<double>(ids.size()), examples::seconds_since(started),
             std::to_string(n) + "/" + std::to_string(ids.size()) + " " + by.unit() + "s");
    const strata::token id = ids[n], next = ids[n + 1];
    const auto logits = writer.step({&id, {1}})[0];
    if (next >= logits.size()) {
      bar.end_line();
      strata::fail(path, ": token ", n + 1, " is ", next, ", outside of the vocabulary of ", logits.size());
    }
    const double largest = *std::max_element(logits.data, logits.data + logits.size());
    double sum = 0;
    for (strata::index_type v = 0; v < logits.size(); ++v) sum += std::exp(logits(v) - largest);
    const double of_token = std::log(sum) + largest - logits(next);
    if (!std::isfinite(of_token)) {
      bar.end_line();
      strata::fail(weights, ": the logits after ", examples::counted(static_cast<long long>(n) + 1, by.unit()),
                   " are not numbers; the weights may be damaged");
    }
    nats += of_token;
    counted += by.knows_text() ? static_cast<double>(by.text_of(next).size()) : 1;
  }
  bar.end_line();
  std::cout << strata::to_text(nats / counted / std::log(2.0))
            << (by.knows_text() ? " bits per byte\n" : " bits per token\n");
}

/// Prints the continued prompts. One is printed as it is generated; several come at the end, one after the other.
class printed_texts {
 public:
  /// With `silent`, only the bar is shown.
  printed_texts(const std::vector<std::string>& prompts, const examples::tokenizer& by, bool silent)
      : prompts_(prompts), by_(by), texts_(prompts.size()), silent_(silent) {}

  /// Shows a bar where nothing is printed for a while.
  void at(strata::index_type position, strata::index_type end) {
    const double passed = examples::seconds_since(started_);
    if (begun_ || passed < 0.5) return;
    bar_.draw(
        static_cast<double>(position) / static_cast<double>(end), passed,
        strata::to_text(position, "/", end, " ", by_.unit(), "s of ", prompts_.size() == 1 ? "the text" : "each text"));
  }
  void add(strata::index_type row, strata::token id) {
    if (silent_) return;
    std::string text = by_.text_of(id);
    if (terminal_) text = examples::printable(std::move(text));
    if (!streams_) {
      texts_[static_cast<std::size_t>(row)] += text;
      return;
    }
    begin();
    std::cout << text << std::flush;
  }
  /// Ends all lines that are being written, so that an error starts on its own.
  void end_line() {
    bar_.end_line();
    if (begun_) std::cout << std::endl;
    begun_ = false;
  }
  void end() {
    if (streams_ && !silent_) begin();
    end_line();
    if (silent_) return;
    for (std::size_t row = 0; !streams_ && row < texts_.size(); ++row)
      std::cout << "--- " << row + 1 << " ---\n" << prompts_[row] << texts_[row] << '\n';
  }

 private:
  void begin() {
    if (begun_) return;
    bar_.end_line();
    std::cout << prompts_[0] << std::flush;
    begun_ = true;
  }

  const std::vector<std::string>& prompts_;
  const examples::tokenizer& by_;
  std::vector<std::string> texts_;
  bool silent_;
  bool streams_ = prompts_.size() == 1, terminal_ = isatty(STDOUT_FILENO) == 1;
  bool begun_ = false;  // a line of the streamed text
  examples::progress_bar bar_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

/// Where the positions of coarse levels begin in a text. The model reads it in pieces of its greatest length, and each piece
/// begins positions at its first token.
template <const auto& D, class Model>
examples::level_view view_levels(Model& model, std::span<const strata::token> ids, const examples::tokenizer& by) {
  using F = strata::facts<D>;
  examples::level_view own;
  for (const strata::token id : ids) own.tokens.push_back(by.text_of(id));
  std::vector<int> coarse;
  for (const int l : F::by_compression)
    if (F::levels[l].compressed()) coarse.push_back(l);
  for (const int l : coarse) {
    const auto& rule = D.levels[l].boundaries;
    own.levels.push_back(
        {strata::to_text("level ", l, ", ",
                         F::levels[l].ragged && !rule.follows_text() ? "in a level that follows the text"
                         : rule.follows_text()                       ? std::string(rule.name)
                                                                     : strata::to_text("every ", F::levels[l].stride)),
         {}});
  }
  const auto length = static_cast<std::size_t>(F::max_length);
  for (std::size_t first = 0; first < ids.size(); first += length) {
    const auto piece = ids.subspan(first, std::min(length, ids.size() - first));
    model.forward({piece.data(), {1, static_cast<strata::index_type>(piece.size())}});
    for (std::size_t n = 0; n < coarse.size(); ++n)
      for (const strata::index_type start : model.starts(coarse[n]))
        own.levels[n].starts.push_back(static_cast<strata::index_type>(first) + start);
  }
  return own;
}

/// The tokenizer that is given, or that a run keeps beside its weights; without one, tokens are bytes.
inline std::shared_ptr<const examples::tokenizer> tokenizer_for(const program_options& options, int vocabulary) {
  std::filesystem::path path = options.tokenizer;
  if (path.empty()) path = examples::tokenizer_beside(options.weights);
  if (path.empty()) return vocabulary <= 256 ? examples::byte_tokens() : examples::numbered_tokens();
  auto found = examples::read_tokenizer(path);
  strata::require(found->vocabulary() == vocabulary, found->name(), ": its vocabulary has ", found->vocabulary(),
                  " tokens, but that of the model in ", std::filesystem::path(options.weights), " has ", vocabulary);
  return found;
}

/// Prints texts with the boundaries of their levels, or writes them to a page.
template <const auto& D, class Model>
void show_levels(Model& model, const std::vector<std::vector<strata::token>>& texts, const examples::tokenizer& by,
                 const program_options& options) {
  std::vector<examples::level_view> views;
  for (const std::vector<strata::token>& ids : texts) views.push_back(view_levels<D>(model, ids, by));
  if (!options.page.empty()) {
    const std::string page = examples::level_page(views, "What the levels see");
    strata::write_file_atomically(options.page, [&](auto& output) { output.write(page); });
    std::cout << "page " << options.page << '\n';
    return;
  }
  for (const examples::level_view& own : views) {
    std::cout << (isatty(STDOUT_FILENO) == 1 ? with_colours(own) : with_bars(own)) << '\n';
    std::cerr << summary(own);
  }
}

/// Returns the exit code of the program.
template <const auto& D, class Device>
int write(const program_options& options) {
  using device = typename Device::backend;
  const auto by = tokenizer_for(options, D.vocabulary);
  device backend = Device::open(options.device);
  examples::print_note(Device::message(backend));
  strata::transformer<D, device, strata::inference> model(backend);
  strata::load_weights(model, options.weights);
  strata::generator writer(model,
                           std::max<strata::index_type>(1, static_cast<strata::index_type>(options.prompts.size())),
                           {.weights = options.format});
  if (options.measures) return measure(writer, *by, options.measured, options.weights), 0;

  std::vector<std::vector<strata::token>> prompts;
  for (const std::string& prompt : options.prompts) prompts.push_back(by->encode(prompt));
  for (std::size_t n = 0; n < prompts.size(); ++n)
    strata::require(!prompts[n].empty(), "the prompt '", options.prompts[n], "' has no tokens");
  std::vector<std::vector<strata::token>> written = prompts;
  printed_texts texts(options.prompts, *by, options.levels);
  examples::catch_interrupts();
  const auto go_on = [&](strata::index_type position, strata::index_type end) {
    texts.at(position, end);
    return !examples::interrupted;
  };
  try {
    writer.generate(
        prompts, options.length, options.sampling,
        [&](strata::index_type row, strata::token id) {
          texts.add(row, id);
          written[static_cast<std::size_t>(row)].push_back(id);
        },
        go_on);
  } catch (const strata::error& problem) {
    texts.end_line();
    strata::fail(std::filesystem::path(options.weights), ": ", problem.what());
  }
  texts.end();
  if (options.levels) show_levels<D>(model, written, *by, options);
  return examples::interrupted ? 128 + examples::interrupted : 0;
}

/// The description in a file as C++.
inline std::string description_of(const strata::safetensors_file& file) {
  const nlohmann::json described = strata::description_in(file);
  strata::require(!described.is_null(), file.source(), ": the file holds no description of its model");
  return strata::to_cpp(described);
}
inline void describe(const std::string& path) { std::cout << description_of(strata::safetensors_file::read(path)); }

template <class Device>
int write_with(const program_options& options) {
  const auto file = strata::safetensors_file::read(options.weights);
  const std::string description = description_of(file);
  int status = 0;
  const bool known = examples::with_model(
      examples::described_in(file), [&]<const auto & D>(examples::named_model<D>) {
        status = write<D, Device>(options);
      });
  strata::require(known, file.source(),
                  ": write_text has no model with the description in this file; add it to examples/models.hpp:\n",
                  description);
  return status;
}

/// Generates text or measures, as the options say. Returns the exit code of the program.
int on_cpu(const program_options& options);
int on_cuda(const program_options& options);  // where the program has CUDA

}  // namespace write_text
