// Continues a prompt with a trained model, byte by byte. See README.md, or `write_text --help`.
#include <limits>
#include <vector>

#include <strata/cpu.hpp>

#include "models.hpp"
#include "program.hpp"

namespace {

struct program_options {
  std::string weights;
  std::vector<std::string> prompts;
  strata::index length = 500;
  int threads = 0;
  strata::sampling_options sampling;
};

template <class Config>
void write(const program_options& options) {
  strata::cpu backend({.threads = options.threads});
  strata::transformer<Config, strata::cpu, strata::purpose::inference> model(backend);
  strata::load_weights(model, options.weights);

  const bool streams = options.prompts.size() == 1;
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  std::vector<std::vector<strata::token>> prompts;
  std::vector<std::string> texts(options.prompts.size());
  for (const std::string& prompt : options.prompts)
    prompts.emplace_back(reinterpret_cast<const unsigned char*>(prompt.data()),
                         reinterpret_cast<const unsigned char*>(prompt.data()) + prompt.size());
  if (streams) std::cout << options.prompts[0] << std::flush;
  strata::generator<Config, strata::cpu> writer(model, static_cast<strata::index>(prompts.size()));
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
  CLI::App app("Continues a prompt with a trained model.", "write_text");
  app.add_option("--weights", options.weights, "checkpoint or weights of train_text")->required();
  app.add_option("--prompt", options.prompts, "text to continue; several are written side by side")->required();
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
    for (const std::string& prompt : options.prompts) strata::require(!prompt.empty(), "--prompt must not be empty");
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
