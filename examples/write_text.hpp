// What write_text does, for any device; write_text.cpp reads its options.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <string>
#include <unistd.h>
#include <vector>

#include <strata/strata.hpp>

#include "console.hpp"
#include "device.hpp"
#include "models.hpp"

namespace write_text {

struct program_options {
  std::string weights;
  std::vector<std::string> prompts;
  std::string measured, described;
  strata::weight_format format = strata::weight_format::float32;
  strata::index_type length = 500;
  examples::device_options device;
  strata::sampling_options sampling;
};

/// Prints how many bits the model needs for each byte of a text, on average. The first byte does not count.
template <class Writer>
void measure(Writer& writer, const std::string& path) {
  const auto bytes = strata::read_file(path);
  strata::require(bytes.size() > 1, path, ": a text to measure needs at least 2 bytes");
  double nats = 0;
  examples::progress_bar bar;
  const auto started = std::chrono::steady_clock::now();
  for (strata::index_type n = 0; n + 1 < bytes.size(); ++n) {
    bar.draw(static_cast<double>(n) / static_cast<double>(bytes.size()), examples::seconds_since(started),
             std::to_string(n) + "/" + std::to_string(bytes.size()) + " bytes");
    const auto id = static_cast<strata::token>(bytes.data()[n]), next = static_cast<strata::token>(bytes.data()[n + 1]);
    const auto logits = writer.step({&id, {1}})[0];
    const double largest = *std::max_element(logits.data, logits.data + logits.size());
    double sum = 0;
    for (strata::index_type v = 0; v < logits.size(); ++v) sum += std::exp(logits(v) - largest);
    nats += std::log(sum) + largest - logits(next);
  }
  bar.end_line();
  std::cout << strata::to_text(nats / static_cast<double>(bytes.size() - 1) / std::log(2.0)) << " bits per byte\n";
}

template <const auto& D, class Device>
void write(const program_options& options) {
  using device = typename Device::backend;
  device backend = Device::open(options.device);
  examples::print_note(Device::message(backend));
  strata::transformer<D, device, strata::inference> model(backend);
  strata::load_weights(model, options.weights);
  strata::generator writer(model,
                           std::max<strata::index_type>(1, static_cast<strata::index_type>(options.prompts.size())),
                           {.weights = options.format});
  if (!options.measured.empty()) return measure(writer, options.measured);

  const bool streams = options.prompts.size() == 1;
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  std::vector<std::vector<strata::token>> prompts;
  std::vector<std::string> texts(options.prompts.size());
  for (const std::string& prompt : options.prompts)
    prompts.emplace_back(reinterpret_cast<const unsigned char*>(prompt.data()),
                         reinterpret_cast<const unsigned char*>(prompt.data()) + prompt.size());
  if (streams) std::cout << options.prompts[0] << std::flush;
  writer.generate(prompts, options.length, options.sampling, [&](strata::index_type row, strata::token id) {
    const char letter = terminal ? examples::printable(id) : static_cast<char>(id);
    if (streams)
      std::cout << letter << std::flush;
    else
      texts[static_cast<std::size_t>(row)] += letter;
  });
  if (streams) std::cout << '\n';
  for (std::size_t row = 0; !streams && row < texts.size(); ++row)
    std::cout << "--- " << row + 1 << " ---\n" << options.prompts[row] << texts[row] << '\n';
}

/// The description in a file as C++.
inline std::string description_of(const strata::safetensors_file& file, const std::string& path) {
  const nlohmann::json described = strata::description_in(file);
  strata::require(!described.is_null(), file.source(), ": the file holds no description of its model");
  return strata::to_cpp(described, std::filesystem::path(path).stem().string());
}
inline void describe(const std::string& path) {
  std::cout << description_of(strata::safetensors_file::read(path), path);
}

template <class Device>
void write_with(const program_options& options) {
  const auto file = strata::safetensors_file::read(options.weights);
  const std::string description = description_of(file, options.weights);
  const bool known = examples::with_model(
      [&]<const auto & D>(examples::named_model<D>) { return strata::difference_to<D>(file).empty(); },
      [&]<const auto & D>(examples::named_model<D>) { write<D, Device>(options); });
  strata::require(known, file.source(), ": no model of this program fits; its description is:\n", description);
}

/// Generates text or measures, as the options say.
void on_cpu(const program_options& options);
void on_cuda(const program_options& options);  // where the program has CUDA

}  // namespace write_text
