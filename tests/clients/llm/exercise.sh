# The command line program `llm`, which makes pictures with its plugin llm-openai-images: alone it makes none. The plugin says
# nothing about how they come, and reads `b64_json`.
. ./exercises.sh

# Configured:
export OPENAI_BASE_URL="$PINXIT_SERVER/v1"
export OPENAI_API_KEY="$PINXIT_KEY"
# Used:

generate() {
  llm -m openai/gpt-image-1.5 "a red apple" -o size square -o quality low -o output apple.png
  is_png apple.png
}
exercise "generate" generate

edit() {
  llm -m openai/gpt-image-1.5 "a robot, 3d style" -a robot.png -o quality low -o output edited.png
  is_png edited.png
}
exercise "edit an attachment" edit

exit $failed
