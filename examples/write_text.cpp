// Continues a prompt with a trained model, byte by byte, or measures how well it predicts a text. See README.md, or `write_text --help`.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include <strata/cpu.hpp>

#include "models.hpp"
#include "program.hpp"

namespace {

struct program_options {
  std::string weights;
  std::vector<std::string> prompts;
  std::string measured;
  strata::weight_format format = strata::weight_format::float32;
  strata::index length = 500;
  int threads = 0;
  strata::sampling_options sampling;
};

/// Prints how many bits the model needs for each byte of a text after the first.
template <class Writer>
void measure(Writer& writer, const std::string& path) {
  const auto bytes = strata::read_file(path);
  strata::require(bytes.size() > 1, path, ": a text to measure needs at least 2 bytes");
  double nats = 0;
  for (strata::index n = 0; n + 1 < bytes.size(); ++n) {
    const auto id = static_cast<strata::token>(bytes.data()[n]), next = static_cast<strata::token>(bytes.data()[n + 1]);
    const auto logits = writer.step({&id, {1}})[0];
    const double largest = *std::max_element(logits.data, logits.data + logits.size());
    double sum = 0;
    for (strata::index v = 0; v < logits.size(); ++v) sum += std::exp(logits(v) - largest);
    nats += std::log(sum) + largest - logits(next);
  }
  std::cout << strata::to_text(nats / static_cast<double>(bytes.size() - 1) / std::log(2.0)) << " bits per byte\n";
}

template <class Config>
void write(const program_options& options) {
  strata::cpu backend({.threads = options.threads});
  strata::transformer<Config, strata::cpu, strata::purpose::inference> model(backend);
  strata::load_weights(model, options.weights);
  strata::generator<Config, strata::cpu> writer(
      model, std::max<strata::index>(1, static_cast<strata::index>(options.prompts.size())),
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
  writer.write(prompts, options.length, options.sampling, [&](strata::index row, strata::token id) {
    const char letter = terminal ? examples::printable(id) : static_cast<char>(id);
    if (streams)
      std::cout << letter << std::flush;
    else
      texts[static_cast<std::size_t>(row)] += letter;
  });
  if (streams) std::cout << '\n';
  for (std::size_t row = 0; !streams && row < texts.size(); ++row)
    std::cout << "--- " << row + 1 << " ---\n" << options.prompts[row] << texts[row] << '\n';
  strata::require(std::cout.flush().good(), "cannot write to standard output");
}

}  // namespace

int main(int argc, char** argv) {
  strata::keep_freed_memory();
  program_options options;
  CLI::App app("Continues a prompt with a trained model, or measures how well it predicts a text.", "write_text");
  app.add_option("--weights", options.weights, "checkpoint or weights of train_text")->required();
  auto* prompt = app.add_option("--prompt", options.prompts, "text to continue; several are written side by side");
  app.add_option("--measure", options.measured, "instead: a file, to print the bits per byte that predicting it takes")
      ->excludes(prompt);
  const std::map<std::string, strata::weight_format> formats{{"float32", strata::weight_format::float32},
                                                             {"bfloat16", strata::weight_format::bfloat16},
                                                             {"int8", strata::weight_format::int8}};
  std::string format = "float32";
  app.add_option("--format", format, "of the weights in memory; the shorter, the faster and the less exact")
      ->check(CLI::IsMember(formats))
      ->capture_default_str();
  app.add_option("--length", options.length, "bytes to write")->check(examples::whole_number(0))->capture_default_str();
  app.add_option("--temperature", options.sampling.temperature, "0: always the likeliest byte")
      ->check(examples::number_from_0())
      ->capture_default_str();
  app.add_option("--threshold", options.sampling.threshold, "keeps this fraction of unlikely bytes out")
      ->capture_default_str();
  app.add_option("--seed", options.sampling.seed)
      ->check(examples::whole_number(0, std::numeric_limits<std::uint64_t>::max()))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "0: one a processor")
      ->check(examples::whole_number(0, 1024))
      ->capture_default_str();

  return examples::run_program(app, argc, argv, [&] {
    strata::require(!options.prompts.empty() || !options.measured.empty(), "--prompt is required, or --measure");
    for (const std::string& text : options.prompts) strata::require(!text.empty(), "--prompt must not be empty");
    options.format = formats.at(format);
    strata::check(options.sampling);
    const auto file = strata::safetensors_file::read(options.weights);
    const std::string& description = file.metadata(strata::description_key);
    const bool known =
        examples::with_model([&](auto model) { return description == strata::describe<decltype(model)>(); },
                             [&](auto model) { write<decltype(model)>(options); });
    strata::require(known, options.weights, ": no model of this program fits '", description, "'");
    return 0;
  });
}
