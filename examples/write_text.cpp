// Continues a prompt with a trained model, byte by byte, or measures how well it predicts a text: its options. See README.md, or
// `write_text --help`.
#include "write_text.hpp"

#include <limits>
#include <map>

#include "program.hpp"

int main(int argc, char** argv) {
  strata::keep_freed_memory();
  write_text::program_options options;
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
  examples::add_device_options(app, options.device);

  return examples::run_program(app, argc, argv, [&] {
    strata::require(!options.prompts.empty() || !options.measured.empty(), "--prompt is required, or --measure");
    for (const std::string& text : options.prompts) strata::require(!text.empty(), "--prompt must not be empty");
    examples::require_device(app, options.device);
    options.format = formats.at(format);
    strata::check(options.sampling);
    if constexpr (examples::has_cuda)
      if (options.device.name == "cuda") return write_text::on_cuda(options), 0;
    write_text::on_cpu(options);
    return 0;
  });
}
