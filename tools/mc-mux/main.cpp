#include "mc-mux/run.hpp"

int main(int argc, char** argv) {
  return mc::cli::run_main("mc-mux", "Fragment coded picture and sound as MP4, each frame as soon as it is there.",
                           argc, argv, mc::tool_mux::run);
}
